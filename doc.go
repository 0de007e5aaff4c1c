// Package holdfast is a set of distributed locks on Redis: fair and fast at
// once, with leases that tell their holder the moment they are lost, and
// scripts that a retry, a crash or a lost reply cannot confuse.
//
// This package has what the locks of a process share, the [Client], and what
// each of them returns, the [Lease]. The locks are in packages of their own:
//
//	client, err := holdfast.New(rdb) // rdb is a go-redis client
//	...
//	orders := mutex.New(client, "orders")
//	err = orders.Do(ctx, func(ctx context.Context) error {
//		return settle(ctx) // ctx ends if the lock is lost
//	})
//
// # What is promised
//
// Two leases that exclude each other never both have Done open, as long as the
// Redis that they use keeps its data and the clocks of the machines run at about
// the same rate. Waiters are served in the order in which they reached Redis,
// over all processes. A release makes the next waiter the holder in the same
// script and wakes it alone. A holder that dies frees the lock after its TTL. A
// redlock, on several servers, has neither that order nor tokens: see there.
//
// # What is not
//
// A process that is paused past its TTL has lost the lock, and what it does
// before it looks at Err again can overlap with the next holder; only a resource
// that checks [Lease.Token] is safe from that. A Redis that loses its data in a
// failover or a restart can give the lock twice. docs/operations.md says more.
//
// # Goroutines
//
// A Client runs a constant number of goroutines, whatever the number of locks,
// waiters and leases. [Client.Close] ends them all.
package holdfast
