// Package processtest runs locks in processes of their own, for tests that kill
// them, stop them and make them exit. Linux only.
//
// A child is the test binary once more. It runs one test, TestChildProcess,
// which the package under test must have, and which must call [Child]. The test
// gives it orders, one a line, over its stdin; it answers with reports, one JSON
// object a line, over its stdout, whose times all are [Monotonic]'s. A child ends
// when its stdin does, in good order, so that the leak check of TestMain covers
// it, too; and it is killed when its parent ends.
package processtest
