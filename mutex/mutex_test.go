package mutex_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/mutex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var kind = contract.Kind{
	Name: "mutex",
	New: func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return mutex.New(c, name, opts...)
	},
	Scripts: contract.Scripts{Acquire: lua.MutexAcquire, Release: lua.MutexRelease, Renew: lua.MutexRenew},
	Request: "30000 holdfast:inbox:nobody nobody",
	Turn:    16,
}

func TestFaults(t *testing.T) {
	t.Parallel()
	contract.RunFaults(t, kind)
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, kind)
}

func TestContractOnCluster(t *testing.T) {
	t.Parallel()
	contract.RunOnCluster(t, kind)
}

func TestZeroMutex(t *testing.T) {
	t.Parallel()
	for _, m := range []*mutex.Mutex{nil, {}} {
		if _, err := m.Lock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if _, err := m.TryLock(t.Context()); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if err := m.Do(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if m.Name() != "" {
			t.Error(m.Name())
		}
	}
}
