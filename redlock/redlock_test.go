package redlock_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/redlock"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // go-redis writes a line for each connection that a server that is down refuses
	// And its pool, refused often enough, asks by itself whether the server is back,
	// each second, until it finds that it was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// fast tries again soon: nobody is woken. The embedded server, with -race, could
// not answer many that are faster.
var fast = holdfast.WithBackOff(func() holdfast.BackOff { return constant(50 * time.Millisecond) })

type constant time.Duration

func (c constant) NextBackOff() time.Duration { return time.Duration(c) }
func (constant) Reset()                       {}

// kind is the lock on three servers of which one is down; see contract.Kind.
var kind = contract.Kind{
	Name:      "redlock",
	Unordered: true,
	Majority: func(clients []*holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return redlock.New(clients, name, slices.Concat([]holdfast.Option{fast}, opts)...)
	},
	Scripts: contract.Scripts{Acquire: lua.MutexAcquire, Release: lua.MutexRelease, Renew: lua.MutexRenew},
}

// alone is the lock on one server.
var alone = contract.Kind{
	Name:      "redlock",
	Unordered: true,
	New: func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return kind.Majority([]*holdfast.Client{c}, name, opts...)
	},
	Scripts: kind.Scripts,
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, kind)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	contract.RunFaults(t, kind)
}

func TestFaultsOfOne(t *testing.T) {
	t.Parallel()
	contract.RunFaults(t, alone)
}

func TestContractOfOne(t *testing.T) {
	t.Parallel()
	contract.Run(t, alone)
}

func TestZeroRedlock(t *testing.T) {
	t.Parallel()
	for _, r := range []*redlock.Redlock{nil, {}} {
		if _, err := r.Lock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if _, err := r.TryLock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if err := r.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if r.Name() != "" {
			t.Error(r.Name())
		}
	}
}
