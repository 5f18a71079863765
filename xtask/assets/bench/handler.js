// The trivial handler once more, for emulators that run Node.js alone.
exports.handler = async (event) => event;
