package reentrant_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/reentrant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kind is the lock in its exclusive form.
var kind = contract.Kind{
	Name: "reentrant",
	New: func(c *holdfast.Client, name string, opts ...holdfast.Option) holdfast.Locker {
		return reentrant.New(c, name, opts...)
	},
	Scripts:  contract.Scripts{Acquire: lua.ReentrantAcquire, Release: lua.ReentrantRelease, Renew: lua.ReentrantRenew},
	Request:  "30000 holdfast:inbox:nobody 5 ghost nobody",
	Reenters: true,
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
