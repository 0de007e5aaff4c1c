package contract

import (
	"testing"
)

// Run runs the whole suite on every backend.
func Run(t *testing.T, k Kind) {
	t.Helper()
	for _, c := range []struct {
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
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Backends(t, k, c.test)
		})
	}
}
