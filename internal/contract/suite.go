package contract

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// Run runs the whole suite on every backend.
func Run(t *testing.T, k Kind) {
	t.Helper()
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Backends(t, k, c.test)
		})
	}
}

// RunOnCluster runs the suite on a cluster of three masters, but for what is about
// one server or none.
func RunOnCluster(t *testing.T, k Kind) {
	t.Helper()
	idle := make(chan *testredis.Cluster, 2) // as many as cases run at once here
	for range cap(idle) {
		idle <- testredis.StartCluster(t, 3, false)
	}
	for _, c := range suite {
		if c.name == "ProcessesTakeTurns" {
			continue // it looks at all goroutines, and must be the only one of its name
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster := <-idle
			t.Cleanup(func() { // after the clients of the case were closed
				cluster.Flush(t)
				idle <- cluster
			})
			c.test(t, &Env{Kind: k, Cluster: cluster, Redis: cluster.Client(t)})
		})
	}
}

// suite is each case of the contract.
var suite = []struct {
	name string
	test func(t *testing.T, e *Env)
}{
	{"Excludes", excludes},
	{"TokensGrow", tokensGrow},
	{"TryLockSaysWhoHolds", tryLockSaysWhoHolds},
	{"TryLockDoesNotOvertake", tryLockDoesNotOvertake},
	{"UncontendedSendsTwoCommands", uncontendedSendsTwoCommands},
	{"ContendedSendsTwoCommandsACycle", contendedCommands},
	{"FirstComeFirstServed", firstComeFirstServed},
	{"ProcessesTakeTurns", processesTakeTurns},
	{"HandOverNeedsNoPoll", handOverNeedsNoPoll},

	{"WaitEndsWithContext", waitEndsWithContext},
	{"EndedContextTakesNothing", endedContextTakesNothing},
	{"MaxWait", maxWait},
	{"CancelledWaiterLeaves", cancelledWaiterLeaves},
	{"CancelledWhileGranted", cancelledWhileGranted},
	{"DeadWaiterIsSkipped", deadWaiterIsSkipped},
	{"ManyDeadWaitersAreSkipped", manyDeadWaitersAreSkipped},
	{"DeadHolderFreesAtTTL", deadHolderFreesAtTTL},

	{"Renews", renews},
	{"WithoutRenewalEndsAtTTL", withoutRenewalEndsAtTTL},
	{"RenewExtends", renewExtends},
	{"MaxHold", maxHold},
	{"MinHold", minHold},
	{"LostRemoved", lostRemoved},
	{"LostTaken", lostTaken},
	{"ReleaseAfterLossHarmsNobody", releaseAfterLoss},
	{"ReleaseTwice", releaseTwice},
	{"ReleaseWithEndedContext", releaseWithEndedContext},

	{"DoRunsUnderTheLock", doRuns},
	{"DoReportsLoss", doReportsLoss},
	{"DoReleasesOnPanicAndGoexit", doReleasesOnPanic},
	{"ContextEndsWithLease", contextEndsWithLease},
	{"ContextIsFreedWithParent", contextIsFreed},
	{"CarriedLeaseIsRefused", carriedLeaseIsRefused},
	{"LeakedLeaseIsReleased", leakedLease},

	{"InspectSays", inspectSays},
	{"InspectChangesNothing", inspectChangesNothing},
	{"ForceRelease", forceRelease},
	{"ForcedBeforeListening", forcedBeforeListening},
	{"ForceOfNothing", forceOfNothing},
	{"ObserverIsTold", observerIsTold},
	{"ObserverHasTheCallersValues", observerHasValues},
	{"ObserverThatBlocksOrPanics", observerHarmsNobody},
	{"LogHasStableKeys", logKeys},

	{"EveryNameWorks", everyNameWorks},
	{"BadInputIsRefused", badInput},
	{"WrongTypeIsSaid", wrongType},
	{"ClosedRedisIsSaid", closedRedis},
	{"CloseReleasesAndWakes", closeReleases},
	{"UseAfterClose", useAfterClose},
	{"ZeroValuesAreRefused", zeroValues},
}
