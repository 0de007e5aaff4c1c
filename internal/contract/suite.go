package contract

import (
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// testCase is one case of the suite.
type testCase struct {
	name string
	test func(t *testing.T, e *Env)
}

// apply is those of the cases that concern the kind: of the second list, which
// are about the queue, its wake-ups and tokens, none if it has no queue.
func (k Kind) apply(all, queue []testCase) []testCase {
	if k.Unordered {
		return all
	}
	return slices.Concat(all, queue)
}

// Run runs the whole suite on every backend.
func Run(t *testing.T, k Kind) {
	t.Helper()
	for _, c := range k.apply(suite, queueSuite) {
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
	for _, c := range k.apply(suite, queueSuite) {
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

// suite is each case of the contract, but for those of queueSuite.
var suite = []testCase{
	{"Excludes", excludes},
	{"TryLockSaysWhoHolds", tryLockSaysWhoHolds},
	{"UncontendedSendsTwoCommands", uncontendedSendsTwoCommands},

	{"WaitEndsWithContext", waitEndsWithContext},
	{"EndedContextTakesNothing", endedContextTakesNothing},
	{"MaxWait", maxWait},
	{"DeadHolderFreesAtTTL", deadHolderFreesAtTTL},

	{"Renews", renews},
	{"DeadlineIsMonotonic", deadlineIsMonotonic},
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

	{"ForcedBeforeListening", forcedBeforeListening},
	{"ForcedWhileItSubscribes", forcedWhileItSubscribes},
	{"ForceOfNothing", forceOfNothing},
	{"ObserverHasTheCallersValues", observerHasValues},
	{"LogHasStableKeys", logKeys},

	{"EveryNameWorks", everyNameWorks},
	{"BadInputIsRefused", badInput},
	{"WrongTypeIsSaid", wrongType},
	{"ClosedRedisIsSaid", closedRedis},
	{"CloseReleasesAndWakes", closeReleases},
	{"UseAfterClose", useAfterClose},
	{"ZeroValuesAreRefused", zeroValues},
}

// queueSuite is the cases that are about the queue, its wake-ups and tokens.
var queueSuite = []testCase{
	{"TokensGrow", tokensGrow},
	{"TryLockDoesNotOvertake", tryLockDoesNotOvertake},
	{"ContendedSendsTwoCommandsACycle", contendedCommands},
	{"FirstComeFirstServed", firstComeFirstServed},
	{"ProcessesTakeTurns", processesTakeTurns},
	{"HandOverNeedsNoPoll", handOverNeedsNoPoll},
	{"CancelledWaiterLeaves", cancelledWaiterLeaves},
	{"CancelledWhileGranted", cancelledWhileGranted},
	{"RefusedWaiterLeaves", refusedWaiterLeaves},
	{"DeadWaiterIsSkipped", deadWaiterIsSkipped},
	{"ManyDeadWaitersAreSkipped", manyDeadWaitersAreSkipped},

	{"InspectSays", inspectSays},
	{"InspectChangesNothing", inspectChangesNothing},
	{"ForceRelease", forceRelease},
	{"ObserverIsTold", observerIsTold},
	{"ObserverThatBlocksOrPanics", observerHarmsNobody},
}
