// Command model explores the protocol of the locks, wholly: every order in which
// messages can arrive, every delay, every fault within a budget, every state that
// a small number of acquisitions can reach. It is how the rules in docs/design.md
// were found, and how a change to them is tried before it is built.
//
//	go run ./internal/model                          every setup, and every rule taken out
//	go run ./internal/model -list                    what there is
//	go run ./internal/model -run rw-3                one setup
//	go run ./internal/model -without first-only      a counterexample, step by step
//
// # What is modelled
//
// One lock on one server, and two or three acquisitions, each at a client of its
// own. A script is one step. Between a script and a client are messages: requests,
// answers and wake-ups, of which any may be next, be overtaken, or never arrive (a
// message that is lost is one that takes for ever). Three kinds of lock share the
// client, the queue and the grant loop, as they share them in the product:
//
//   - exclusive: one holder, in a key that Redis expires;
//   - weighted: a set of holders, each with a weight, an end and a token of its
//     own, a counter of their weights beside them, a limit that each request
//     brings along, a bound on the steps of one script, and Downgrade;
//   - reentrant: a set of acquisitions of one owner.
//
// An exclusive lease may also be handed on inside its process, without a message:
// its deadline and its tokens are judged in the setups "local", and in "lane" who is
// told of whom and how long a process may go on (passing.go). Two locks have models
// of their own: that on a majority of servers (redlock.go), and that which counts
// once replicas have it, while one of them is promoted (replicas.go).
//
// Time is in ticks and relative: a state knows how old a message is and how long a
// lease has left, clamped where more makes no difference. So there is no horizon:
// the search ends when there is no new state.
//
// Faults have budgets: an answer that is not waited for (its request may still
// arrive, at any time: this is also every duplicate that a retry can make),
// crashes, contexts that end, renewals, releases sent twice.
//
// # What must hold
//
// In every state: the leases that clients believe in are within the limit; the
// counter is the sum of the stored holds; nobody holds whose client has left,
// unless something is under way that frees it, and nobody who holds is queued as
// well. At every step: nobody is admitted before an earlier live waiter; a later
// lease has the higher token than one that it excludes; a script that finds room
// uses it or says "more", and while nothing fails somebody always goes on; between
// a writer's lease and its downgraded reader's no other writer is believed. And
// from every state every waiter is served within TTL + liveness + one poll even if
// at that moment all others die and all messages are lost. A process that passes a
// lock on passes a live waiter by so many times at most.
//
// # What is not
//
// Clocks run alike: the margin for those that do not is reasoned, not modelled.
// The last token is never forgotten. A poll is sent at most once a tick and waiter.
// Scripts are written here again rather than read from lua/, so the model can be
// right and a script wrong; that is what the contract tests are for. A replica is at
// most two writes behind, and keeps what it has received. Foreign holders, TryLock
// (but for the majority's), minimum and maximum hold times, how the goroutines of a
// process wake each other, servers that run out of memory: not modelled.
package main
