package mutex

import (
	"context"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/kind"
)

// Mutex is an exclusive lock of one name. Make it with New; the zero Mutex
// refuses every call with holdfast.ErrInvalid. Mutexes of equal name, in this
// process or another, are the same lock. Safe for concurrent use.
type Mutex struct {
	core *holdfast.Core
}

var _ holdfast.Locker = (*Mutex)(nil)

// New makes a Mutex. It does no I/O and never fails: a bad name or option comes
// back from the first call as an error that Is holdfast.ErrInvalid. A name is
// any text of at least one byte whose key has at most 4096.
func New(c *holdfast.Client, name string, opts ...holdfast.Option) *Mutex {
	return &Mutex{core: holdfast.NewCore(c, kind.Mutex, name, opts...)}
}

// Name is the name that the Mutex was made with.
func (m *Mutex) Name() string { return m.engine().Name() }

// Lock waits until the lock is acquired, ctx ends, or WithMaxWait is over. ctx
// bounds the wait only: cancelling it later does not end the lease. A ctx that
// has ended takes nothing; one that carries a live lease of this Mutex is refused
// with holdfast.ErrInvalid, since it would wait for itself.
//
// The error of a wait that ended As a *holdfast.HeldError that says who is in
// the way, and Is ctx.Err() unless the limit was WithMaxWait's; if Redis was the
// reason, it also wraps the last error of Redis. Through failures that may pass,
// such as a restart or a failover, Lock keeps waiting; one that will not, such
// as a key of another type, is returned at once. holdfast.ErrClosed means that
// the client was closed; holdfast.ErrInvalid that the call makes no sense. After
// an error nothing is held, and whatever was left in Redis is taken back in the
// background.
//
// A queued Lock returns at once when ctx ends. While the first command hangs it
// returns at ctx's deadline, or within the timeouts of the go-redis client for
// reading, or for dialling where it has to connect, after a bare cancellation.
func (m *Mutex) Lock(ctx context.Context) (*holdfast.Lease, error) { return m.engine().Lock(ctx) }

// TryLock takes the lock if it is free and nobody waits for it: one round trip.
// If not, the error is a *holdfast.HeldError, which Is holdfast.ErrNotAcquired.
// It does not overtake: a free lock with waiters is theirs. Other errors are as
// for Lock, a ctx that carries a lease of this Mutex included; but a failure of
// Redis is returned rather than waited for.
func (m *Mutex) TryLock(ctx context.Context) (*holdfast.Lease, error) { return m.engine().TryLock(ctx) }

// Do locks as Lock does, calls fn once with a context that ends with the lease,
// and releases, also when fn panics or calls runtime.Goexit. It returns Lock's
// error, and then fn did not run; or an error that Is holdfast.ErrLost, with
// fn's error wrapped in it, if the lease was lost before the release was
// confirmed, even if fn returned nil; or else fn's error. A release that got no
// answer is logged.
func (m *Mutex) Do(ctx context.Context, fn func(context.Context) error) error {
	return m.engine().Do(ctx, fn)
}

// Inspect asks who holds the lock and who waits for it, in order: one command,
// which changes nothing. See holdfast.State. ctx bounds the call as far as the
// go-redis client heeds it. Errors are Redis's, ctx's, holdfast.ErrInvalid or
// holdfast.ErrClosed.
func (m *Mutex) Inspect(ctx context.Context) (*holdfast.State, error) {
	return m.engine().Inspect(ctx)
}

// ForceRelease takes the lease of that ID, of which Inspect tells, away from its
// holder, and grants what it held to the next waiters in the same step. The
// holder is told at once: its lease's Err Is holdfast.ErrLost, with the reason
// "taken". Only one whose message was lost, or who held for less than a quarter of
// a second, learns it by its next renewal instead, and then with the reason
// "removed" if nobody else holds the lock.
//
// A mutex that is passed on inside a process is one hold: it is taken from whoever
// has it there now, also if the lease of that ID has been released.
//
// The error Is holdfast.ErrReleased if nothing is held under that ID. Any other
// error but holdfast.ErrInvalid and holdfast.ErrClosed means that nobody knows; it
// may be called again. ctx bounds the call as far as the go-redis client heeds it.
func (m *Mutex) ForceRelease(ctx context.Context, id string) error {
	return m.engine().ForceRelease(ctx, id)
}

func (m *Mutex) engine() *holdfast.Core {
	if m == nil {
		return nil
	}
	return m.core
}
