package unlike_test

import (
	"context"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/mutex"
)

// holder is what each client says of itself, where its library lets it.
const holder = "alice"

// library is one way to lock.
type library struct {
	name string
	key  func(name string) string // of that lock
	open func(t *testing.T, addr string, ttl time.Duration) locker
}

// locker is a client of its own.
type locker interface {
	lock(ctx context.Context, name string) (held, error) // waits
	try(ctx context.Context, name string) (held, error)  // does not
}

// held is a lock that is held.
type held interface {
	release(ctx context.Context) error
	// told is the context that ends when the lock is lost; nil: nobody is told.
	told() context.Context
	token() int64 // 0: there is none
}

func libraries() []library {
	same := func(name string) string { return name }
	return []library{
		{"Holdfast", func(name string) string { return "holdfast:mutex:" + name }, openHoldfast},
		{"redsync", same, openRedsync},
		{"bsm/redislock", same, openBsm},
		{"rueidislock", func(name string) string { return "rueidislock:0:" + name }, openRueidis},
	}
}

// connect gives all who use go-redis the same client, which heeds deadlines.
func connect(t *testing.T, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

type holdfastLocker struct{ client *holdfast.Client }

func openHoldfast(t *testing.T, addr string, ttl time.Duration) locker {
	t.Helper()
	client, err := holdfast.New(connect(t, addr), holdfast.WithTTL(ttl), holdfast.WithHolder(holder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Second)
		defer cancel()
		_ = client.Close(ctx) // where the network still fails it, the server ends soon
	})
	return holdfastLocker{client}
}

func (l holdfastLocker) lock(ctx context.Context, name string) (held, error) {
	return holdfastHeld(mutex.New(l.client, name).Lock(ctx))
}

func (l holdfastLocker) try(ctx context.Context, name string) (held, error) {
	return holdfastHeld(mutex.New(l.client, name).TryLock(ctx))
}

func holdfastHeld(lease *holdfast.Lease, err error) (held, error) {
	if err != nil {
		return nil, err
	}
	return holdfastLease{lease}, nil
}

type holdfastLease struct{ lease *holdfast.Lease }

func (h holdfastLease) release(ctx context.Context) error { return h.lease.Release(ctx) }
func (h holdfastLease) told() context.Context             { return h.lease.Context(context.Background()) }
func (h holdfastLease) token() int64                      { return h.lease.Token() }

type redsyncLocker struct {
	rs  *redsync.Redsync
	ttl time.Duration
}

func openRedsync(t *testing.T, addr string, ttl time.Duration) locker {
	t.Helper()
	return redsyncLocker{redsync.New(goredis.NewPool(connect(t, addr))), ttl}
}

func (l redsyncLocker) lock(ctx context.Context, name string) (held, error) {
	m := l.rs.NewMutex(name, redsync.WithExpiry(l.ttl))
	return redsyncHeld{m}, m.LockContext(ctx)
}

func (l redsyncLocker) try(ctx context.Context, name string) (held, error) {
	m := l.rs.NewMutex(name, redsync.WithExpiry(l.ttl))
	return redsyncHeld{m}, m.TryLockContext(ctx)
}

type redsyncHeld struct{ mutex *redsync.Mutex }

func (h redsyncHeld) release(ctx context.Context) error {
	_, err := h.mutex.UnlockContext(ctx)
	return err
}

func (redsyncHeld) told() context.Context { return nil }
func (redsyncHeld) token() int64          { return 0 }

type bsmLocker struct {
	client *redislock.Client
	ttl    time.Duration
}

func openBsm(t *testing.T, addr string, ttl time.Duration) locker {
	t.Helper()
	return bsmLocker{redislock.New(connect(t, addr)), ttl}
}

// lock polls every 10 ms: it does not wait unless it is told how.
func (l bsmLocker) lock(ctx context.Context, name string) (held, error) {
	return l.obtain(ctx, name, redislock.LinearBackoff(10*time.Millisecond))
}

func (l bsmLocker) try(ctx context.Context, name string) (held, error) {
	return l.obtain(ctx, name, redislock.NoRetry())
}

func (l bsmLocker) obtain(ctx context.Context, name string, retry redislock.RetryStrategy) (held, error) {
	lock, err := l.client.Obtain(ctx, name, l.ttl, &redislock.Options{RetryStrategy: retry, Metadata: holder})
	return bsmHeld{lock}, err
}

type bsmHeld struct{ lock *redislock.Lock }

func (h bsmHeld) release(ctx context.Context) error { return h.lock.Release(ctx) }
func (bsmHeld) told() context.Context               { return nil }
func (bsmHeld) token() int64                        { return 0 }

type rueidisLocker struct{ locker rueidislock.Locker }

// openRueidis makes a locker as its README recommends for one server. It renews
// at half of the validity, as is its default. TryNextAfter is longer than its 20 ms,
// which a busy machine can miss.
func openRueidis(t *testing.T, addr string, ttl time.Duration) locker {
	t.Helper()
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
		KeyMajority:    1,
		NoLoopTracking: true,
		KeyValidity:    ttl,
		TryNextAfter:   500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return rueidisLocker{l}
}

func (l rueidisLocker) lock(ctx context.Context, name string) (held, error) {
	return l.hold(ctx, name, l.locker.WithContext)
}

func (l rueidisLocker) try(ctx context.Context, name string) (held, error) {
	return l.hold(ctx, name, l.locker.TryWithContext)
}

func (rueidisLocker) hold(
	ctx context.Context, name string,
	acquire func(context.Context, string) (context.Context, context.CancelFunc, error),
) (held, error) {
	told, cancel, err := acquire(ctx, name)
	return rueidisHeld{told, cancel}, err
}

type rueidisHeld struct {
	ctx    context.Context //nolint:containedctx // the lock is a context
	cancel context.CancelFunc
}

// release says nothing.
func (h rueidisHeld) release(context.Context) error {
	h.cancel()
	return nil
}

func (h rueidisHeld) told() context.Context { return h.ctx }
func (rueidisHeld) token() int64            { return 0 }
