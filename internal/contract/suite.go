package contract

import (
	"slices"
	"testing"
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
	queue := []testCase{
		{"TokensGrow", tokensGrow},
		{"TryLockDoesNotOvertake", tryLockDoesNotOvertake},
		{"ContendedSendsTwoCommandsACycle", contendedCommands},
		{"FirstComeFirstServed", firstComeFirstServed},
		{"ProcessesTakeTurns", processesTakeTurns},
		{"HandOverNeedsNoPoll", handOverNeedsNoPoll},
		{"CancelledWaiterLeaves", cancelledWaiterLeaves},
		{"CancelledWhileGranted", cancelledWhileGranted},
		{"DeadWaiterIsSkipped", deadWaiterIsSkipped},
		{"ManyDeadWaitersAreSkipped", manyDeadWaitersAreSkipped},
	}
	all := []testCase{
		{"Excludes", excludes},
		{"TryLockSaysWhoHolds", tryLockSaysWhoHolds},
		{"UncontendedSendsTwoCommands", uncontendedSendsTwoCommands},

		{"WaitEndsWithContext", waitEndsWithContext},
		{"EndedContextTakesNothing", endedContextTakesNothing},
		{"MaxWait", maxWait},
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

		{"EveryNameWorks", everyNameWorks},
		{"BadInputIsRefused", badInput},
		{"WrongTypeIsSaid", wrongType},
		{"ClosedRedisIsSaid", closedRedis},
		{"CloseReleasesAndWakes", closeReleases},
		{"UseAfterClose", useAfterClose},
		{"ZeroValuesAreRefused", zeroValues},
	}
	for _, c := range k.apply(all, queue) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Backends(t, k, c.test)
		})
	}
}
