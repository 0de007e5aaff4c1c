package main

// rule is something that the protocol does. Each can be taken out of a run, to
// see what would happen without it.
type rule uint64

const (
	tokenAbove rule = 1 << iota
	baseOfBelief
	keepLive
	rearm
	lateIsNone
	firstOnly
	tombstone
	anyHead
	skipDead
	handOver
	neverRecreate
	waitTurn
	strictOrder
	reapFirst
	reapedBefore
	onlyHeld
	expiredIsLost
	ownLimit
	severalGrants
	pumpOn
	weightStays
	anyWeight
	overFirst
	idempotent
	lowerGrants
	sameToken
	lowerFromSend
	unknownReleases
	countIsSize
	reentryPasses
	byAcquisition
	outlive
	holdsDeadline
	tokenBlock
	tellsHolder
	answerTells
	turnEnds
	unheardIsSomebody
	doubtAnew
	notToTheLast
	leavesWithHold
	majorityNeeded
	quorumDeadline
	fromSend
	releaseAll
	readdWhileHeld
	stayAway
	confirmed
	waitBehindWrite
	countedRenewals
	shortIsGiven
	furthest
	downFirst
	endOfRules
)

// every rule is in force.
const every = endOfRules - 1

// keeps tells whether a rule is in force.
func (m *model) keeps(r rule) bool { return m.rules&r != 0 }

// ruleText is a rule in words, and what becomes of a run without it.
type ruleText struct {
	rule  rule
	name  string
	says  string
	setup string // where it is missed
	finds string // the property that breaks there; "" if none does
}

// ruleTexts has every rule.
var ruleTexts = []ruleText{
	// What a client may believe.
	{
		tokenAbove, "token-above", "a wake-up must have a token above the last one seen in a \"not yet\"",
		"mutex-2-faults", "PLACE",
	},
	{
		baseOfBelief, "base-of-belief", "a grant heard of by wake-up counts from the last poll answered \"not yet\"",
		"mutex-3", "EXCLUSION",
	},
	{
		keepLive, "keep-live", "a wake-up for a lease that is held is not given back",
		"mutex-3", "EXCLUSION",
	},
	{
		rearm, "rearm", "an acquire that finds itself holder starts the lease anew",
		"mutex-2-faults", "EXCLUSION",
	},
	{
		lateIsNone, "late-is-none", "an answer that comes after its own deadline is no lease",
		"mutex-3", "EXCLUSION",
	},
	// What a script may do.
	{
		firstOnly, "first-only", "only the first acquire of an id takes or enqueues",
		"mutex-3", "GHOST",
	},
	{
		tombstone, "tombstone", "the leave of an id whose first acquire was not answered buries it",
		"mutex-3-timeout", "GHOST",
	},
	{
		anyHead, "any-head", "a script that finds room serves the head of the queue, whoever it is",
		"mutex-3", "STUCK",
	},
	{
		skipDead, "skip-dead", "a waiter whose liveness is over is passed over",
		"mutex-3-brief", "STUCK",
	},
	{
		handOver, "hand-over", "the release grants in the same script",
		"mutex-3", "IDLE",
	},
	{
		neverRecreate, "never-recreate", "a renewal extends only what is held",
		"mutex-2-faults", "GHOST",
	},
	{
		waitTurn, "wait-turn", "nobody takes while others wait",
		"mutex-3", "FIFO",
	},
	// Holders with a weight.
	{
		strictOrder, "strict-order", "who does not fit is not passed by who would",
		"permits-3", "FIFO",
	},
	{
		reapFirst, "reap-first", "expired holders are reaped before room is judged",
		"permits-3", "STUCK",
	},
	{
		reapedBefore, "reaped-before", "what is reaped is gone before its id is admitted anew, not after",
		"permits-3-timeout", "STUCK",
	},
	{
		onlyHeld, "only-held", "a release takes off the counter only the hold that it removes",
		"permits-3", "COUNTER",
	},
	{
		expiredIsLost, "expired-is-lost", "an expired hold that is not reaped yet is lost to renew",
		"permits-2-faults", "",
	},
	{
		ownLimit, "own-limit", "a waiter is admitted by its own limit, not by its granter's",
		"permits-3-limits", "EXCLUSION",
	},
	{
		severalGrants, "several-grants", "the grant loop goes on until nothing fits, or says \"more\"",
		"permits-3", "IDLE",
	},
	{
		pumpOn, "pump-on", "who is told \"more\" calls pump",
		"permits-3-bound-1", "UNTOLD",
	},
	{
		weightStays, "weight-stays", "a repeated first acquire does not change the weight that it finds",
		"rw-2-faults", "COUNTER",
	},
	{
		anyWeight, "any-weight", "an acquire finds the hold of its id under any weight",
		"rw-2-faults", "PLACE",
	},
	// Downgrade.
	{
		overFirst, "over-first", "the writer's lease is over before its downgrade is sent",
		"rw-3", "EXCLUSION",
	},
	{
		idempotent, "idempotent", "a downgrade sent again changes nothing more",
		"rw-2-faults", "COUNTER",
	},
	{
		lowerGrants, "lower-grants", "a downgrade admits those who now fit",
		"rw-3", "IDLE",
	},
	{
		sameToken, "same-token", "a downgrade names the writer's token, and finds nothing under another",
		"rw-2-faults", "GAP",
	},
	{
		lowerFromSend, "lower-from-send", "the reader's lease counts from the send of the downgrade that was answered",
		"rw-3", "EXCLUSION",
	},
	{
		unknownReleases, "unknown-releases", "a downgrade that stays unknown is followed by a release",
		"rw-3", "GHOST",
	},
	// One owner, several acquisitions.
	{
		countIsSize, "count-is-size", "the count is the size of the set of acquisitions, never added to",
		"reentrant-3", "COUNTER",
	},
	{
		reentryPasses, "reentry-passes", "a re-entry passes the queue",
		"reentrant-3", "STUCK",
	},
	{
		byAcquisition, "by-acquisition", "a release takes away its own acquisition, not another of its owner's",
		"reentrant-3", "EXCLUSION",
	},
	{
		outlive, "outlive", "tombstones outlive the hold",
		"reentrant-2-faults", "GHOST",
	},
	// Handed over inside a process.
	{
		holdsDeadline, "holds-deadline", "a lease that is handed on has the deadline of its hold",
		"local-2", "EXCLUSION",
	},
	{
		tokenBlock, "token-block", "a grant reserves the tokens of the turns to come",
		"local-2", "TOKEN ORDER",
	},
	{
		tellsHolder, "tells-holder", "the first place beside the lane's tells the holder",
		"lane", "", // answers tell, too, but later
	},
	{
		answerTells, "answer-tells", "what is answered for the lane's place tells of others",
		"lane", "TURN",
	},
	{
		turnEnds, "turn-ends", "while somebody else waits, a process passes the lock on so many times",
		"lane", "TURN",
	},
	{
		unheardIsSomebody, "unheard", "until an answer says that nobody else waits, somebody may",
		"lane", "TURN",
	},
	{
		doubtAnew, "doubt-anew", "who came while the lane had no place was told nothing of",
		"lane-faults", "TURN",
	},
	{
		notToTheLast, "not-to-the-last", "the last in the lane is not given the lock before its place is answered",
		"lane", "",
	},
	{
		leavesWithHold, "leaves-with-hold", "a place for nobody is left with the hold",
		"lane", "NOBODY",
	},
	// On a majority of servers.
	{
		majorityNeeded, "majority", "a lease needs a majority of the nodes",
		"redlock", "EXCLUSION",
	},
	{
		quorumDeadline, "quorum-deadline", "it ends when the node that completes its majority may forget it",
		"redlock-renewal", "EXCLUSION",
	},
	{
		fromSend, "from-send", "what a node gave counts from the send",
		"redlock", "EXCLUSION",
	},
	{
		releaseAll, "release-all", "a release goes to all nodes, those whose answer is not known included",
		"redlock", "GHOST",
	},
	{
		readdWhileHeld, "readd-while-held", "a node that forgot the lock has it again only while the majority holds",
		"redlock-renewal", "REVIVED",
	},
	{
		stayAway, "stay-away", "a node that lost its data stays away for a TTL",
		"redlock-restart", "EXCLUSION",
	},
	// On a master with replicas. The last two are its keepers' to see to.
	{
		confirmed, "confirmed", "what was given is believed once so many replicas have it",
		"replicas", "EXCLUSION",
	},
	{
		waitBehindWrite, "wait-behind-write", "a WAIT stands behind a write of its own connection",
		"replicas", "EXCLUSION",
	},
	{
		countedRenewals, "counted-renewals", "a renewal that too few replicas have does not move the deadline",
		"replicas-renewal", "EXCLUSION",
	},
	{
		shortIsGiven, "short-is-given", "what too few replicas have is given back",
		"replicas", "GHOST",
	},
	{
		furthest, "furthest", "if not all replicas must have it, the one that has most is promoted",
		"replicas", "EXCLUSION",
	},
	{
		downFirst, "down-first", "if not all replicas must have it, the old master is down before",
		"replicas", "EXCLUSION",
	},
}

// ruleNamed finds a rule by its name.
func ruleNamed(name string) (ruleText, bool) {
	for _, r := range ruleTexts {
		if r.name == name {
			return r, true
		}
	}
	return ruleText{}, false
}
