// Package holdfast is a set of distributed locks on Redis: fair and fast at
// once, with leases that tell their holder the moment they are lost, and
// scripts that a retry, a crash or a lost reply cannot confuse.
//
// This package has what the locks of a process share, the [Client], and what
// each of them returns, the [Lease]. The locks are in packages of their own:
//
//	client, err := holdfast.New(rdb) // rdb is a go-redis client; one Client per process
//	...
//	defer client.Close(context.Background()) // gives back what is still held; ctx may have ended by then
//
//	orders := mutex.New(client, "orders")
//	err = orders.Do(ctx, func(ctx context.Context) error {
//		return settle(ctx) // ctx ends if the lock is lost
//	})
//
// # Locks
//
//	mutex      one at a time
//	reentrant  one at a time, from functions that lock and call each other
//	rwlock     many readers or one writer
//	semaphore  so many at a time, with weights
//	redlock    one at a time, by a majority of independent servers
//
// A lock is a kind and a name. Locks of equal kind and name are the same, in this
// process and in others that use the same Redis and the same WithPrefix. Making
// one costs nothing and does no I/O.
//
// # Leases
//
// Each acquisition has a [Lease] of its own. It is renewed in the background until
// it is released or lost. Work that depends on it gets [Lease.Context], or runs
// within Do: that context ends with the lease, and context.Cause says why. Anything
// may ask [Lease.Err], which compares the clock and does no I/O. A resource that can
// check it gets [Lease.Token], see package guard.
//
// The ctx that is given to Lock bounds the wait, not the lease; [WithMaxWait] bounds
// the wait and leaves ctx to the work; [WithMaxHold] bounds the lease.
//
// # Errors
//
// Every error is one of these, by errors.Is:
//
//	ErrNotAcquired  not had in time; As *HeldError: who holds it, what is left of its lease, how many wait
//	ctx.Err()       the wait ended; As *HeldError beside it, if it is known who held
//	ErrLost         the lease is over; As *LostError: which, and why
//	ErrReleased     the lease was released before
//	ErrClosed       the client was closed
//	ErrInvalid      the call makes no sense; the text names the value
//
// or a [ReplicasError], of a lock that has WithReplicas, or wraps what Redis or
// go-redis said.
//
// # What is promised
//
// Two leases that exclude each other never both have an Err of nil, as long as the
// Redis that they use keeps its data and the clocks of the machines run at about
// the same rate. Waiters are served in the order in which they reached Redis,
// over all processes. A release makes the next waiter the holder in the same
// script and wakes it alone; the goroutines of one process pass a mutex on among
// themselves, without Redis, in turns that are bounded once another process waits:
// see package mutex. A holder that dies frees the lock after its TTL. A
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
// A Client runs a small number of goroutines, with a bound that does not depend on
// how many locks, waiters and leases there are. [Client.Close] ends them all.
package holdfast
