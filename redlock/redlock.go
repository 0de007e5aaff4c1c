// Package redlock is an exclusive lock on a majority of independent Redis servers.
//
//	lock := redlock.New([]*holdfast.Client{a, b, c}, "orders")
//	lease, err := lock.Lock(ctx)
//	if err != nil {
//		return err
//	}
//	defer lease.Release(ctx)
//
// It is the algorithm of the page "Distributed Locks with Redis" of the Redis
// documentation: all servers are asked at once, each for a short time; the lock is
// held with a majority, for the TTL less what asking took and a margin for the
// clocks; a try that failed is given back everywhere, and another is made after a
// random pause. Renewal needs a majority, too.
//
// # What it is for
//
// It goes on while a minority of the servers is down, with no failover that could
// forget a lock. For that it pays: twice as many commands as there are servers for
// each lock and release, no order among waiters, and no fencing token. Martin
// Kleppmann ("How to do distributed locking") and Salvatore Sanfilippo ("Is Redlock
// safe?") argue what it is worth; they agree on what follows.
//
//   - It is for efficiency, or for correctness as far as the assumptions below go.
//     Where two holders would do damage, the resource must check a fencing token,
//     and Redlock has none: Lease.Token is 0. Each server could count, but the
//     counters of independent servers have no common order; to agree on one is what
//     a consensus system does. Use one (etcd, ZooKeeper, Consul) if you need that.
//   - A mutex on one Redis, with replicas where it must survive a failure, is
//     faster and fair, wakes its waiters, and has tokens. Prefer it unless losing
//     that one Redis, or a lock in its failover, is worse than all of these.
//
// # What it assumes
//
// The clocks of the servers and of this process run at about the same rate: within
// the margin, a hundredth of the TTL and 2 ms. A server whose clock jumps forward by
// much forgets its locks early.
//
// A server that lost its data, as one that restarts without persistence does, must
// not answer before one TTL of the longest lease has passed: else it gives a lock
// of which it knows nothing, and a second majority is made of servers that were in
// the first. Holdfast cannot see to that; docs/operations.md says how to.
//
// The servers are independent: no replicas of one another, and, as far as can be
// had, on different machines. Three or five are usual. An even number is allowed,
// but four survive no more failures than three. One is a majority of one.
package redlock

import (
	"context"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/kind"
)

// Redlock is an exclusive lock of one name on several servers. Make it with New;
// the zero Redlock refuses every call with holdfast.ErrInvalid. Redlocks of equal
// name on the same servers are the same lock. Safe for concurrent use.
type Redlock struct {
	core *holdfast.Core
}

var _ holdfast.Locker = (*Redlock)(nil)

// New makes a Redlock on the servers of clients, of which each must have one of
// its own. Every process must use the same servers. New does no I/O and never
// fails: what is wrong comes back from the first call as an error that Is
// holdfast.ErrInvalid: no client, a nil one, the same twice, two on one go-redis
// client, clients with different prefixes, a bad name or option.
//
// Options that are not given are those of the first client. WithReplicas is
// refused: servers that are independent have none to count. WithBackOff sets the
// time between tries, at most a quarter of a second; a try follows after a fifth
// of it to the whole, at random. WithMinHold holds on those servers that hear of
// the release.
//
// When one of the clients is closed, the lease is released and Lock ends with
// holdfast.ErrClosed, as if each were the only one: that is the program's doing,
// no failure to be outvoted.
func New(clients []*holdfast.Client, name string, opts ...holdfast.Option) *Redlock {
	return &Redlock{core: holdfast.NewQuorumCore(clients, kind.Redlock, name, opts...)}
}

// Name is the name that the Redlock was made with.
func (r *Redlock) Name() string { return r.engine().Name() }

// Lock waits until a majority gave the lock, ctx ends, or WithMaxWait is over. ctx
// bounds the wait only: cancelling it later does not end the lease. A ctx that has
// ended takes nothing. It gives no values to the commands, which are sent in the
// background.
//
// There is no queue: waiters try again and again, and who is served next is chance,
// but for the goroutines of one process, which wait in their own order behind one
// of them. A try ends once a majority has answered, at the latest after a
// two-hundredth of the TTL, but after 50 ms at least and 500 ms at most, and never
// later than a quarter of the TTL. A server that hangs thus delays nothing while
// the others make a majority.
//
// The error of a wait that ended As a *holdfast.HeldError that says who is in the
// way, and Is ctx.Err() unless the limit was WithMaxWait's; if servers failed, it
// also wraps their errors. Through failures that may pass Lock keeps waiting; when
// a majority refuses for good, as for a key of another type, it returns at once.
// holdfast.ErrClosed means that one of the clients was closed; holdfast.ErrInvalid
// that the call makes no sense. After an error nothing is held, and whatever was
// left on any server, those included that did not answer, is taken back in the
// background. Lock returns at once when ctx ends.
//
// The lease lasts until its Deadline: until the server that completes the majority
// may let the lock go. A server that says that the lock is not there any more is
// out of the lease for good; it does not get the lock back, since somebody else may
// be about to take it there. The lease is lost at once when too few are left, with
// reason "removed" or "taken", so Deadline can also move back; and at its Deadline
// if too few answer, with reason "unreachable".
//
// Its Renew returns nil once a majority has renewed in that call. Its Release
// returns nil once a majority has given the lock back, an error that Is
// holdfast.ErrLost once that cannot be, and otherwise, after 2 s, an error that
// says which servers did not answer; those are asked again in the background until
// the TTL is over.
func (r *Redlock) Lock(ctx context.Context) (*holdfast.Lease, error) { return r.engine().Lock(ctx) }

// TryLock makes one try, as those of Lock. If others are in the way, the error As a
// *holdfast.HeldError, which Is holdfast.ErrNotAcquired: its Holder has most of the
// servers that refused, and after Remaining a majority could be free. Where servers
// failed whose answers could have made the majority, it wraps their errors, too; if
// only those were in the way, it is no HeldError. The lock can also be refused to
// all when several try at once and none gets a majority.
func (r *Redlock) TryLock(ctx context.Context) (*holdfast.Lease, error) {
	return r.engine().TryLock(ctx)
}

// Do locks as Lock does, calls fn once with a context that ends with the lease,
// and releases, also when fn panics or calls runtime.Goexit. It returns Lock's
// error, and then fn did not run; or an error that Is holdfast.ErrLost, with
// fn's error wrapped in it, if the lease was lost before the release was
// confirmed, even if fn returned nil; or else fn's error. A release that got no
// answer is logged.
func (r *Redlock) Do(ctx context.Context, fn func(context.Context) error) error {
	return r.engine().Do(ctx, fn)
}

// Inspect asks all servers who holds the lock, and changes nothing. A holder's
// Weight is the number of servers that it has, its Remaining the time after which
// that may be no majority; there are no tokens and no waiters. Each server has half
// a second to answer, and ctx bounds the call; a majority must answer, else the
// error wraps the servers' errors. Other errors are holdfast.ErrInvalid and
// holdfast.ErrClosed.
func (r *Redlock) Inspect(ctx context.Context) (*holdfast.State, error) {
	return r.engine().Inspect(ctx)
}

// ForceRelease takes the lease of that ID, of which Inspect tells, away on all
// servers. The holder hears of it at once from the server of its first client, and
// else by its next renewals; its lease's Err is holdfast.ErrLost.
//
// The error Is holdfast.ErrReleased if a majority says that nothing is held under
// that ID. Any other error but holdfast.ErrInvalid and holdfast.ErrClosed means that
// fewer than a majority answered; it may be called again. Each server has half a
// second to answer, and ctx bounds the call.
func (r *Redlock) ForceRelease(ctx context.Context, id string) error {
	return r.engine().ForceRelease(ctx, id)
}

func (r *Redlock) engine() *holdfast.Core {
	if r == nil {
		return nil
	}
	return r.core
}
