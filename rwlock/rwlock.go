package rwlock

import (
	"context"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/kind"
)

// RWLock is a read-write lock of one name. Make it with New; the zero RWLock
// refuses every call with holdfast.ErrInvalid. RWLocks of equal name, in this
// process or another, are the same lock. Safe for concurrent use.
type RWLock struct {
	writer, reader *holdfast.Core
}

var _ holdfast.Locker = (*RWLock)(nil)

// New makes an RWLock. It does no I/O and never fails: a bad name or option
// comes back from the first call as an error that Is holdfast.ErrInvalid. A name
// is any text of at least one byte whose key has at most 4096. The options are
// those of readers and of writers.
func New(c *holdfast.Client, name string, opts ...holdfast.Option) *RWLock {
	core := holdfast.NewCore(c, kind.RWLock, name, opts...)
	return &RWLock{writer: core.Weighing(holdfast.All, holdfast.All), reader: core.Weighing(1, holdfast.All)}
}

// Name is the name that the RWLock was made with.
func (rw *RWLock) Name() string { return rw.writers().Name() }

// Lock waits until it is the writer, alone, ctx ends, or WithMaxWait is over. ctx
// bounds the wait only: cancelling it later does not end the lease. A ctx that
// has ended takes nothing; one that carries a live lease of this RWLock's writer
// is refused with holdfast.ErrInvalid, since it would wait for itself.
//
// The error of a wait that ended As a *holdfast.HeldError that says whose lease
// ends first, and Is ctx.Err() unless the limit was WithMaxWait's; if Redis was
// the reason, it also wraps the last error of Redis. Through failures that may
// pass, such as a restart or a failover, Lock keeps waiting; one that will not,
// such as a key of another type, is returned at once. holdfast.ErrClosed means
// that the client was closed. After an error nothing is held, and whatever was
// left in Redis is taken back in the background.
//
// A queued Lock returns at once when ctx ends. While the first command hangs it
// returns at ctx's deadline, or within the timeouts of the go-redis client for
// reading, or for dialling where it has to connect, after a bare cancellation.
func (rw *RWLock) Lock(ctx context.Context) (*holdfast.Lease, error) { return rw.writers().Lock(ctx) }

// TryLock becomes the writer if nobody holds the lock and nobody waits for it:
// one round trip. If not, the error is a *holdfast.HeldError, which Is
// holdfast.ErrNotAcquired. Other errors are as for Lock, but a failure of Redis is
// returned rather than waited for.
func (rw *RWLock) TryLock(ctx context.Context) (*holdfast.Lease, error) {
	return rw.writers().TryLock(ctx)
}

// Do locks as Lock does, calls fn once with a context that ends with the lease,
// and releases, also when fn panics or calls runtime.Goexit. It returns Lock's
// error, and then fn did not run; or an error that Is holdfast.ErrLost, with fn's
// error wrapped in it, if the lease was lost before the release was confirmed,
// even if fn returned nil; or else fn's error. A release that got no answer is
// logged.
func (rw *RWLock) Do(ctx context.Context, fn func(context.Context) error) error {
	return rw.writers().Do(ctx, fn)
}

// RLock waits until it is a reader, beside others, as Lock waits to be the
// writer; its errors are the same.
func (rw *RWLock) RLock(ctx context.Context) (*holdfast.Lease, error) { return rw.readers().Lock(ctx) }

// TryRLock becomes a reader if no writer holds the lock and nobody waits for it,
// as TryLock does for the writer. It does not overtake a writer that waits.
func (rw *RWLock) TryRLock(ctx context.Context) (*holdfast.Lease, error) {
	return rw.readers().TryLock(ctx)
}

// RDo is Do as a reader.
func (rw *RWLock) RDo(ctx context.Context, fn func(context.Context) error) error {
	return rw.readers().Do(ctx, fn)
}

// Downgrade makes a reader of the writer w, with no instant between at which
// another writer could hold the lock, and lets in the readers that are next in
// line. The new lease has w's ID and token, and its own TTL and renewal.
//
// The lease w is over when Downgrade is called, whatever Downgrade returns: its
// Err is holdfast.ErrReleased, and the contexts of w end. Only a w that is not a
// writer's lease of this lock and client, or whose WithMaxHold is over, is refused
// with holdfast.ErrInvalid and stays as it is.
//
// ctx may be one of w's own, as within Do: that w ends does not count as its end.
// What bounds the call then is its deadline, and what w's context was made of; a
// cancellation between the two is not seen. What is done as a reader needs a
// context of the new lease, made of what w's was made of.
//
// Downgrade sends again through failures that may pass, until ctx ends; a ctx
// that has ended, or ends before Redis has answered, releases the lock, and the
// error Is ctx.Err(). An error that Is holdfast.ErrLost means that w was lost
// before; one that Is holdfast.ErrReleased, that it was released. After an error
// nothing is held.
func (rw *RWLock) Downgrade(ctx context.Context, w *holdfast.Lease) (*holdfast.Lease, error) {
	return rw.readers().Downgrade(ctx, w)
}

// Inspect asks who holds the lock and who waits for it, in order: one command,
// which changes nothing. See holdfast.State. ctx bounds the call as far as the
// go-redis client heeds it. Errors are Redis's, ctx's, holdfast.ErrInvalid or
// holdfast.ErrClosed.
func (rw *RWLock) Inspect(ctx context.Context) (*holdfast.State, error) {
	return rw.readers().Inspect(ctx)
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
func (rw *RWLock) ForceRelease(ctx context.Context, id string) error {
	return rw.readers().ForceRelease(ctx, id)
}

// RLocker is the readers' side as a Locker: its Lock is RLock, and so on.
func (rw *RWLock) RLocker() holdfast.Locker { return rw.readers() }

func (rw *RWLock) writers() *holdfast.Core {
	if rw == nil {
		return nil
	}
	return rw.writer
}

func (rw *RWLock) readers() *holdfast.Core {
	if rw == nil {
		return nil
	}
	return rw.reader
}
