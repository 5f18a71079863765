//! The machine by tables: inputs one after another, what each is told and what it causes.

use crate::runtime_api::RestoreNext;
use crate::runtime_api::event::{DeliverError, RuntimeEvent};
use crate::runtime_api::extension::{ExtensionState, Failure, Subscriptions};
use crate::runtime_api::machine::Input::{
    AnswerBegins, AnswerEnds, Deliver, Expect, ExtensionFail, ExtensionPoll, ExtensionPollLost, Fail, InitError, Poll,
    PollLost, Register, RestoreError, RestorePoll, Shutdown,
};
use crate::runtime_api::machine::Verdict::{Done, Registered, Take, Wait};
use crate::runtime_api::machine::{Effect, Input, Machine, Notice, Verdict};
use crate::runtime_api::refusal::Refusal;

type Step = (Input<'static>, Result<Verdict, Refusal>, Vec<Effect>);

fn check(steps: Vec<Step>) -> Machine {
    check_with(RestoreNext::Unknown, steps)
}

fn check_with(restore: RestoreNext, steps: Vec<Step>) -> Machine {
    let mut machine = Machine::new(restore);
    for (number, (input, verdict, effects)) in steps.into_iter().enumerate() {
        let mut caused = Vec::new();
        let text = format!("step {number}: {input:?}");
        assert_eq!(machine.apply(input, &mut caused), verdict, "{text}");
        assert_eq!(caused, effects, "{text}");
    }
    machine
}

fn report(event: RuntimeEvent) -> Effect {
    Effect::Report(event)
}

fn refuse(from: &'static str, to: &'static str) -> Result<Verdict, Refusal> {
    Err(Refusal::RuntimeTransition { from, to })
}

fn ready() -> Step {
    let effects = vec![report(RuntimeEvent::RuntimeReady), report(RuntimeEvent::AllIdle)];
    (Poll, Ok(Wait), effects)
}

fn idle() -> Vec<Effect> {
    vec![report(RuntimeEvent::RuntimeIdle), report(RuntimeEvent::AllIdle)]
}

fn busy() -> Result<Verdict, Refusal> {
    Err(Refusal::NotDelivered(DeliverError::Busy))
}

#[test]
fn a_runtime_that_is_to_be_written_waits() {
    let restorable = vec![report(RuntimeEvent::Restorable)];
    check_with(
        RestoreNext::Held,
        vec![
            (RestorePoll, Ok(Wait), restorable),
            (RestorePoll, Ok(Wait), vec![]),
            (Poll, refuse("Restoring", "Ready"), vec![]),
            (RestoreError, refuse("Restoring", "RestoreError"), vec![]),
        ],
    );
    check_with(
        RestoreNext::Held,
        vec![ready(), (RestorePoll, refuse("Ready", "Restoring"), vec![])],
    );
}

#[test]
fn a_restored_runtime_goes_on_or_says_what_failed() {
    check_with(
        RestoreNext::AtOnce,
        vec![
            (RestorePoll, Ok(Take), vec![]),
            ready(),
            (RestorePoll, refuse("Ready", "Restoring"), vec![]),
            (RestoreError, refuse("Ready", "RestoreError"), vec![]),
        ],
    );
    check_with(
        RestoreNext::AtOnce,
        vec![
            (RestoreError, refuse("Started", "RestoreError"), vec![]),
            (RestorePoll, Ok(Take), vec![]),
            (RestoreError, Ok(Done), vec![]),
            (Poll, refuse("InitError", "Ready"), vec![]),
        ],
    );
    check(vec![(RestorePoll, Err(Refusal::PathUnknown), vec![]), ready()]);
}

#[test]
fn an_invocation_goes_round() {
    check(vec![
        (Deliver { id: "a" }, busy(), vec![]),
        ready(),
        (Deliver { id: "a" }, Ok(Done), vec![Effect::GiveRuntime]),
        (Deliver { id: "b" }, busy(), vec![]),
        (AnswerBegins { id: "a" }, Ok(Done), vec![]),
        (AnswerEnds { id: "a" }, Ok(Done), vec![]),
        (Deliver { id: "b" }, busy(), vec![]),
        (Poll, Ok(Wait), idle()),
        (Deliver { id: "b" }, Ok(Done), vec![Effect::GiveRuntime]),
    ]);
}

#[test]
fn only_the_current_invocation_is_answered_and_only_once() {
    check(vec![
        (AnswerBegins { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
        ready(),
        (AnswerBegins { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
        (Deliver { id: "a" }, Ok(Done), vec![Effect::GiveRuntime]),
        (AnswerBegins { id: "b" }, Err(Refusal::InvalidRequestId), vec![]),
        (AnswerEnds { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
        (AnswerBegins { id: "a" }, Ok(Done), vec![]),
        (
            AnswerBegins { id: "a" },
            refuse("InvocationResponse", "InvocationResponse"),
            vec![],
        ),
        (Poll, refuse("InvocationResponse", "Ready"), vec![]),
        (AnswerEnds { id: "a" }, Ok(Done), vec![]),
        (
            AnswerBegins { id: "a" },
            refuse("ResponseSent", "InvocationResponse"),
            vec![],
        ),
        (Poll, Ok(Wait), idle()),
        (AnswerBegins { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
    ]);
}

#[test]
fn an_event_is_not_lost_with_a_connection() {
    check(vec![
        ready(),
        (PollLost, Ok(Done), vec![]),
        (Deliver { id: "a" }, Ok(Done), vec![]),
        (AnswerBegins { id: "a" }, refuse("Ready", "InvocationResponse"), vec![]),
        (Poll, Ok(Take), vec![]),
        (Poll, Ok(Take), vec![]),
        (AnswerBegins { id: "a" }, Ok(Done), vec![]),
    ]);
    check(vec![
        ready(),
        (Poll, Ok(Wait), vec![]),
        (Deliver { id: "a" }, Ok(Done), vec![Effect::GiveRuntime]),
    ]);
}

#[test]
fn a_failed_invocation_is_over() {
    let before = || vec![ready(), (Deliver { id: "a" }, Ok(Done), vec![Effect::GiveRuntime])];
    let after = || {
        vec![
            (Fail { id: "a" }, Ok(Done), vec![]),
            (Fail { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
            (AnswerBegins { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
            (AnswerEnds { id: "a" }, Err(Refusal::InvalidRequestId), vec![]),
            (Deliver { id: "b" }, busy(), vec![]),
            (Poll, Ok(Wait), idle()),
            (Deliver { id: "b" }, Ok(Done), vec![Effect::GiveRuntime]),
        ]
    };
    let receiving: Step = (AnswerBegins { id: "a" }, Ok(Done), vec![]);
    check(before().into_iter().chain(after()).collect());
    check(before().into_iter().chain([receiving]).chain(after()).collect());
}

#[test]
fn a_failed_initialisation_ends_it() {
    check(vec![
        (InitError, Ok(Done), vec![]),
        (InitError, refuse("InitError", "InitError"), vec![]),
        (Poll, refuse("InitError", "Ready"), vec![]),
        (
            Deliver { id: "a" },
            Err(Refusal::NotDelivered(DeliverError::InitFailed)),
            vec![],
        ),
    ]);
    check(vec![ready(), (InitError, refuse("Ready", "InitError"), vec![])]);
}

const INVOKE: Subscriptions = Subscriptions {
    invoke: true,
    shutdown: false,
};
const BOTH: Subscriptions = Subscriptions {
    invoke: true,
    shutdown: true,
};

fn expect(names: &[&str]) -> Input<'static> {
    Expect(names.iter().map(|name| (*name).to_owned()).collect())
}

/// An external extension `out` (0) and an internal one `in` (1), both registered; the runtime waits.
fn two_extensions() -> Vec<Step> {
    vec![
        (expect(&["out"]), Ok(Done), vec![]),
        (
            Register {
                name: "out",
                events: BOTH,
            },
            Ok(Registered(0)),
            vec![report(RuntimeEvent::ExtensionsRegistered)],
        ),
        (
            Register {
                name: "in",
                events: INVOKE,
            },
            Ok(Registered(1)),
            vec![],
        ),
        (Poll, Ok(Wait), vec![report(RuntimeEvent::RuntimeReady)]),
        (ExtensionPoll(0), Ok(Wait), vec![]),
        (Deliver { id: "a" }, busy(), vec![]),
        (ExtensionPoll(1), Ok(Wait), vec![report(RuntimeEvent::AllIdle)]),
    ]
}

#[test]
fn an_invocation_is_over_when_all_are_done() {
    let mut steps = two_extensions();
    steps.extend([
        (
            Deliver { id: "a" },
            Ok(Done),
            vec![
                Effect::GiveRuntime,
                Effect::GiveExtension(0, Notice::Invoke),
                Effect::GiveExtension(1, Notice::Invoke),
            ],
        ),
        (ExtensionPoll(1), Ok(Wait), vec![]),
        (AnswerBegins { id: "a" }, Ok(Done), vec![]),
        (AnswerEnds { id: "a" }, Ok(Done), vec![]),
        (Poll, Ok(Wait), vec![report(RuntimeEvent::RuntimeIdle)]),
        (Deliver { id: "b" }, busy(), vec![]),
        (ExtensionPoll(0), Ok(Wait), vec![report(RuntimeEvent::AllIdle)]),
        (ExtensionPollLost(1), Ok(Done), vec![]),
        (
            Deliver { id: "b" },
            Ok(Done),
            vec![Effect::GiveRuntime, Effect::GiveExtension(0, Notice::Invoke)],
        ),
        (ExtensionPoll(1), Ok(Take), vec![]),
        (ExtensionPollLost(0), Ok(Done), vec![]),
        (ExtensionPoll(0), Ok(Take), vec![]),
    ]);
    check(steps);
}

#[test]
fn shutdown_reaches_those_who_asked() {
    let mut steps = two_extensions();
    steps.extend([
        (Shutdown, Ok(Done), vec![Effect::GiveExtension(0, Notice::Shutdown)]),
        (Shutdown, Ok(Done), vec![]),
        (
            Deliver { id: "a" },
            Err(Refusal::NotDelivered(DeliverError::ShuttingDown)),
            vec![],
        ),
    ]);
    check(steps);
    let mut steps = two_extensions();
    let given = [0, 1].map(|index| Effect::GiveExtension(index, Notice::Invoke));
    steps.extend([
        (
            Deliver { id: "a" },
            Ok(Done),
            [vec![Effect::GiveRuntime], given.into()]
                .into_iter()
                .flatten()
                .collect(),
        ),
        (Shutdown, Ok(Done), vec![]),
        (ExtensionPoll(0), Ok(Take), vec![]),
    ]);
    let machine = check(steps);
    assert_eq!(machine.extension_notice(0), Some(Notice::Shutdown));
    assert_eq!(machine.reports()[0].state, ExtensionState::Running(Notice::Shutdown));
}

#[test]
fn registration_has_its_rules() {
    let transition = |from, to| {
        let name = "out".to_owned();
        Err(Refusal::ExtensionTransition { name, from, to })
    };
    let mut steps = vec![
        (expect(&[]), Ok(Done), vec![report(RuntimeEvent::ExtensionsRegistered)]),
        (expect(&["out"]), Ok(Done), vec![]),
        (
            Register {
                name: "in",
                events: BOTH,
            },
            Err(Refusal::ShutdownForInternal),
            vec![],
        ),
        (
            Register {
                name: "out",
                events: BOTH,
            },
            Ok(Registered(0)),
            vec![report(RuntimeEvent::ExtensionsRegistered)],
        ),
        (
            Register {
                name: "out",
                events: BOTH,
            },
            transition("Registered", "Registered"),
            vec![],
        ),
    ];
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    for (index, name) in names.into_iter().enumerate() {
        steps.push((Register { name, events: INVOKE }, Ok(Registered(index + 1)), vec![]));
    }
    steps.extend([
        (
            Register {
                name: "9",
                events: INVOKE,
            },
            Err(Refusal::NameTaken),
            vec![],
        ),
        (
            Register {
                name: "x",
                events: INVOKE,
            },
            Err(Refusal::TooManyExtensions { count: 11 }),
            vec![],
        ),
        (expect(&["x"]), Err(Refusal::TooManyExtensions { count: 1 }), vec![]),
        (Poll, Ok(Wait), vec![report(RuntimeEvent::RuntimeReady)]),
        (
            Register {
                name: "x",
                events: INVOKE,
            },
            Err(Refusal::RegistrationClosed),
            vec![],
        ),
    ]);
    check(steps);
}

#[test]
fn extensions_fail_once() {
    let fail = |index, failure, error_type| ExtensionFail {
        index,
        failure,
        error_type,
    };
    let failed = |name: &str, error_type: &str, failure| {
        report(RuntimeEvent::ExtensionFailed {
            name: name.to_owned(),
            error_type: error_type.to_owned(),
            failure,
        })
    };
    let refuse = |name: &str, from, to| {
        let name = name.to_owned();
        Err(Refusal::ExtensionTransition { name, from, to })
    };
    let mut steps = two_extensions();
    steps.extend([
        (
            fail(0, Failure::Init, "late"),
            refuse("out", "Ready", "InitError"),
            vec![],
        ),
        (
            fail(0, Failure::Exit, "e"),
            Ok(Done),
            vec![failed("out", "e", "Extension.ExitError")],
        ),
        (fail(0, Failure::Exit, "f"), Ok(Done), vec![]),
        (ExtensionPoll(0), refuse("out", "ExitError", "Ready"), vec![]),
        (ExtensionPoll(1), refuse("in", "Ready", "Ready"), vec![]),
    ]);
    let machine = check(steps);
    assert_eq!(machine.reports()[0].error_type.as_deref(), Some("e"));
    check(vec![
        (
            Register {
                name: "in",
                events: INVOKE,
            },
            Ok(Registered(0)),
            vec![],
        ),
        (
            fail(0, Failure::Init, "e"),
            Ok(Done),
            vec![failed("in", "e", "Extension.InitError")],
        ),
        (
            fail(0, Failure::Exit, "e"),
            refuse("in", "InitError", "ExitError"),
            vec![],
        ),
        (Poll, Ok(Wait), vec![report(RuntimeEvent::RuntimeReady)]),
    ]);
}
