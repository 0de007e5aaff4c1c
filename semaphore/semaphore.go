package semaphore

import (
	"context"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/kind"
)

// Semaphore is a semaphore of one name. Make it with New; the zero Semaphore
// refuses every call with holdfast.ErrInvalid. Semaphores of equal name, in this
// process or another, are the same. Safe for concurrent use.
type Semaphore struct {
	core  *holdfast.Core
	one   *holdfast.Core // for a single permit
	limit int64
}

// New makes a Semaphore of limit permits, 1 to 1e9. It does no I/O and never
// fails: a bad name, limit or option comes back from the first call as an error
// that Is holdfast.ErrInvalid. A name is any text of at least one byte whose key
// has at most 4096.
func New(c *holdfast.Client, name string, limit int64, opts ...holdfast.Option) *Semaphore {
	core := holdfast.NewCore(c, kind.Semaphore, name, opts...)
	return &Semaphore{core: core, one: core.Weighing(1, limit), limit: limit}
}

// Name is the name that the Semaphore was made with.
func (s *Semaphore) Name() string {
	if s == nil {
		return ""
	}
	return s.core.Name()
}

// Acquire waits until it has n permits, all at once or none, ctx ends, or
// WithMaxWait is over; n is 1 to the limit, else the error Is holdfast.ErrInvalid.
// ctx bounds the wait only: cancelling it later does not end the lease. A ctx
// that has ended takes nothing. A ctx that carries leases of this semaphore, so
// many that n more are above the limit, is refused with holdfast.ErrInvalid: it
// would wait for itself.
//
// The error of a wait that ended As a *holdfast.HeldError that says whose lease
// ends first, and Is ctx.Err() unless the limit was WithMaxWait's; if Redis was
// the reason, it also wraps the last error of Redis. Through failures that may
// pass, such as a restart or a failover, Acquire keeps waiting; one that will
// not, such as a key of another type, is returned at once. holdfast.ErrClosed
// means that the client was closed. After an error nothing is held, and whatever
// was left in Redis is taken back in the background.
//
// A queued Acquire returns at once when ctx ends. While the first command hangs
// it returns at ctx's deadline, or within the timeouts of the go-redis client for
// reading, or for dialling where it has to connect, after a bare cancellation.
func (s *Semaphore) Acquire(ctx context.Context, n int64) (*holdfast.Lease, error) {
	return s.of(n).Lock(ctx)
}

// TryAcquire takes n permits if they are free and nobody waits: one round trip.
// If not, the error is a *holdfast.HeldError, which Is holdfast.ErrNotAcquired; its
// Holder is empty if the permits are free but others wait for more. Other errors
// are as for Acquire, but a failure of Redis is returned rather than waited for.
func (s *Semaphore) TryAcquire(ctx context.Context, n int64) (*holdfast.Lease, error) {
	return s.of(n).TryLock(ctx)
}

// Do acquires n permits as Acquire does, calls fn once with a context that ends
// with the lease, and releases them, also when fn panics or calls runtime.Goexit.
// It returns Acquire's error, and then fn did not run; or an error that Is
// holdfast.ErrLost, with fn's error wrapped in it, if the lease was lost before
// the release was confirmed, even if fn returned nil; or else fn's error. A
// release that got no answer is logged.
func (s *Semaphore) Do(ctx context.Context, n int64, fn func(context.Context) error) error {
	return s.of(n).Do(ctx, fn)
}

// Inspect asks who holds the permits and who waits for it, in order: one command,
// which changes nothing. See holdfast.State. ctx bounds the call as far as the
// go-redis client heeds it. Errors are Redis's, ctx's, holdfast.ErrInvalid or
// holdfast.ErrClosed.
func (s *Semaphore) Inspect(ctx context.Context) (*holdfast.State, error) {
	return s.of(1).Inspect(ctx)
}

// ForceRelease takes the lease of that ID, of which Inspect tells, away from its
// holder, and grants what it held to the next waiters in the same step. The
// holder is told at once: its lease's Err Is holdfast.ErrLost, with the reason
// "taken". Only one whose message was lost, or who held for less than a quarter of
// a second, learns it by its next renewal instead, and then with the reason
// "removed" if nobody else holds the lock.
//
// The error Is holdfast.ErrReleased if nothing is held under that ID. Any other
// error but holdfast.ErrInvalid and holdfast.ErrClosed means that nobody knows; it
// may be called again. ctx bounds the call as far as the go-redis client heeds it.
func (s *Semaphore) ForceRelease(ctx context.Context, id string) error {
	return s.of(1).ForceRelease(ctx, id)
}

// of is the engine for n permits.
func (s *Semaphore) of(n int64) *holdfast.Core {
	switch {
	case s == nil || s.core == nil:
		return nil
	case n == 1:
		return s.one
	}
	return s.core.Weighing(n, s.limit)
}
