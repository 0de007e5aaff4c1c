package servertest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/mutex"
	"github.com/holdfast-go/holdfast/reentrant"
	"github.com/holdfast-go/holdfast/rwlock"
	"github.com/holdfast-go/holdfast/semaphore"
)

// go-redis goes on for a second after Close where a server refused it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// kinds are all locks in their exclusive form.
var kinds = map[string]func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker{
	"mutex": func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return mutex.New(c, name, opts...)
	},
	"reentrant": func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return reentrant.New(c, name, opts...)
	},
	"rwlock": func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return rwlock.New(c, name, opts...)
	},
	"semaphore": func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return permit{semaphore.New(c, name, 1, opts...)}
	},
}

// permit is a semaphore of one permit as a lock.
type permit struct{ *semaphore.Semaphore }

func (p permit) Lock(ctx context.Context) (*holdfast.Lease, error)    { return p.Acquire(ctx, 1) }
func (p permit) TryLock(ctx context.Context) (*holdfast.Lease, error) { return p.TryAcquire(ctx, 1) }

func (p permit) Do(ctx context.Context, fn func(context.Context) error) error {
	return p.Semaphore.Do(ctx, 1, fn)
}

// newClient is a client, as of a process of its own, closed with the test.
func newClient(tb testing.TB, rdb redis.UniversalClient, opts ...holdfast.Option) *holdfast.Client {
	tb.Helper()
	c, err := holdfast.New(rdb, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 20*time.Second)
		defer cancel()
		_ = c.Close(ctx) // it may not reach its server any more
	})
	return c
}

// isWord tells whether the error has a reply of Redis that begins with that word.
func isWord(err error, word string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && redis.HasErrorPrefix(reply, word)
}

// short is a context that lasts a moment.
func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// given is the error of a lock that may have been taken.
func given(_ *holdfast.Lease, err error) error { return err }

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
