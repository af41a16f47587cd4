// Moves a program's clock an hour ahead with each SIGUSR2: `node --import ./clock.mjs app.js`.
// Signatures are made by `new Date()`, which stays right.
const real = Date.now;
let ahead = 0;
Date.now = () => real() + ahead;
process.on("SIGUSR2", () => (ahead += 3_600_000));
