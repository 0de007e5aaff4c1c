package semaphore_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/semaphore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kind is the lock in its exclusive form.
var kind = contract.Kind{
	Name: "semaphore",
	New: func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return one{semaphore.New(c, name, 1, opts...)}
	},
	Scripts: contract.Scripts{Acquire: lua.WeightedAcquire, Release: lua.WeightedRelease, Renew: lua.WeightedRenew},
	Request: "30000 holdfast:inbox:nobody 1 1 nobody",
	Shared:  true,
}

// one is a semaphore of one permit as a lock.
type one struct{ *semaphore.Semaphore }

func (o one) Lock(ctx context.Context) (*holdfast.Lease, error)    { return o.Acquire(ctx, 1) }
func (o one) TryLock(ctx context.Context) (*holdfast.Lease, error) { return o.TryAcquire(ctx, 1) }
func (o one) Do(ctx context.Context, fn func(context.Context) error) error {
	return o.Semaphore.Do(ctx, 1, fn)
}

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, kind)
}

func TestContractOnCluster(t *testing.T) {
	t.Parallel()
	contract.RunOnCluster(t, kind)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	contract.RunFaults(t, kind)
}
