package rwlock_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/rwlock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kind is the lock in its exclusive form.
var kind = contract.Kind{
	Name: "rwlock",
	New: func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return rwlock.New(c, name, opts...)
	},
	Scripts: contract.Scripts{Acquire: lua.WeightedAcquire, Release: lua.WeightedRelease, Renew: lua.WeightedRenew},
	Request: "30000 holdfast:inbox:nobody 1000000000 1000000000 nobody",
	Shared:  true,
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
