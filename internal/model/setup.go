package main

// lockKind is what is stored for a lock, and what excludes what.
type lockKind int8

const (
	exclusive  lockKind = iota // one holder, in a key that Redis expires
	weighted                   // a set of holders with a counter beside it
	reentrant                  // a set of acquisitions of one owner
	onMajority                 // two try to hold a majority of three servers
	inLane                     // goroutines of one process, and another process
	onReplicas                 // a master and two replicas, one of which is promoted
)

// all is the weight and the limit of a writer, and the limit of a reader: more
// than all readers of a run together.
const all = 10

// request is what one acquisition asks for.
type request struct {
	weight, limit int8
	lowers        bool // a writer that may become a reader
	owner         int8 // of a reentrant lock
	turns         int8 // how often its process may hand the lease on to another goroutine
}

// setup is one configuration to explore.
type setup struct {
	name     string
	about    string
	kind     lockKind
	requests []request
	ttl      int8 // ticks
	live     int8 // ticks for which a poll keeps a waiter alive
	bound    int  // steps of the grant loop in one script; 0: no bound
	faults   budget
	alone    bool // judge liveness, too
	replicas int8 // so many must have what is acquired
	split    bool // any replica may be promoted, and the old master goes on
}

// model is a setup with the rules that are in force.
type model struct {
	setup
	rules rule
	raw   bool // forget nothing: see canonical
}

var _ protocol[state, step] = (*model)(nil)

// initial is the lock that nobody ever asked for.
func (m *model) initial() state { return state{left: m.faults} }

// What is asked for in the setups.
var (
	plain    = request{weight: 1, limit: 1}
	one      = request{weight: 1, limit: 2} // of two permits
	two      = request{weight: 2, limit: 2}
	oneOf3   = request{weight: 1, limit: 3} // by a client that was told three
	reader   = request{weight: 1, limit: all}
	writer   = request{weight: all, limit: all}
	stepping = request{weight: all, limit: all, lowers: true}
	ours     = request{weight: 1, limit: 1, owner: 0}
	turning  = request{weight: 1, limit: 1, turns: 1}
	theirs   = request{weight: 1, limit: 1, owner: 1}
)

// setups are what the default run explores.
var setups = []setup{
	{
		name: "mutex-3", about: "three acquisitions, nothing fails",
		kind: exclusive, requests: []request{plain, plain, plain}, ttl: 2, live: 2, alone: true,
	},
	{
		name: "mutex-3-timeout", about: "an answer is not waited for",
		kind: exclusive, requests: []request{plain, plain, plain}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 1},
	},
	{
		name: "mutex-3-crash", about: "one process crashes",
		kind: exclusive, requests: []request{plain, plain, plain}, ttl: 2, live: 2, alone: true,
		faults: budget{crashes: 1},
	},
	{
		name: "mutex-3-cancel", about: "a waiter is cancelled, and a lease renewed",
		kind: exclusive, requests: []request{plain, plain, plain}, ttl: 2, live: 2, alone: true,
		faults: budget{cancels: 1, renewals: 1},
	},
	{
		name: "mutex-2-faults", about: "one of each fault, two time-outs",
		kind: exclusive, requests: []request{plain, plain}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 2, crashes: 1, cancels: 1, renewals: 1, repeats: 1},
	},
	{
		name: "mutex-2-long", about: "the same with a lease of three ticks",
		kind: exclusive, requests: []request{plain, plain}, ttl: 3, live: 2, alone: true,
		faults: budget{timeouts: 2, crashes: 1, cancels: 1, renewals: 1, repeats: 1},
	},
	{
		name: "mutex-3-brief", about: "a waiter that misses one poll counts as dead",
		kind: exclusive, requests: []request{plain, plain, plain}, ttl: 3, live: 1, alone: true,
	},
	{
		name: "permits-3", about: "one, one and two of two permits, nothing fails",
		kind: weighted, requests: []request{one, one, two}, ttl: 2, live: 2, alone: true,
	},
	{
		name: "permits-3-bound-1", about: "one step of the grant loop in a script",
		kind: weighted, requests: []request{one, one, two}, ttl: 2, live: 2, bound: 1, alone: true,
	},
	{
		name: "permits-3-bound-2", about: "two steps, and a crash",
		kind: weighted, requests: []request{one, one, two}, ttl: 2, live: 2, bound: 2, alone: true,
		faults: budget{crashes: 1},
	},
	{
		name: "permits-3-limits", about: "one client was told three permits; a waiter is cancelled",
		kind: weighted, requests: []request{one, two, oneOf3}, ttl: 2, live: 2, alone: true,
		faults: budget{cancels: 1},
	},
	{
		name: "permits-3-timeout", about: "an answer is not waited for",
		kind: weighted, requests: []request{one, one, two}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 1},
	},
	{
		name: "permits-2-brief", about: "one and two of two permits, one step in a script; a crash",
		kind: weighted, requests: []request{one, two}, ttl: 2, live: 2, bound: 1, alone: true,
		faults: budget{crashes: 1},
	},
	{
		name: "permits-2-faults", about: "one of each fault, two time-outs, one step in a script",
		kind: weighted, requests: []request{one, two}, ttl: 2, live: 2, bound: 1, alone: true,
		faults: budget{timeouts: 2, crashes: 1, cancels: 1, renewals: 1, repeats: 1},
	},
	{
		name: "rw-3", about: "a writer that may downgrade, a reader and a writer",
		kind: weighted, requests: []request{stepping, reader, writer}, ttl: 2, live: 2, alone: true,
	},
	{
		name: "rw-3-bound-1", about: "one step of the grant loop in a script",
		kind: weighted, requests: []request{stepping, reader, writer}, ttl: 2, live: 2, bound: 1, alone: true,
	},
	{
		name: "rw-3-timeout", about: "an answer is not waited for",
		kind: weighted, requests: []request{stepping, reader, writer}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 1},
	},
	{
		name: "rw-2-brief", about: "a writer that may downgrade and a reader; a crash",
		kind: weighted, requests: []request{stepping, reader}, ttl: 2, live: 2, alone: true,
		faults: budget{crashes: 1},
	},
	{
		name: "rw-3-faults", about: "a crash, and a waiter is cancelled",
		kind: weighted, requests: []request{stepping, reader, writer}, ttl: 2, live: 2, alone: true,
		faults: budget{crashes: 1, cancels: 1},
	},
	{
		name: "rw-2-faults", about: "a writer that may downgrade and another; one of each fault, two time-outs",
		kind: weighted, requests: []request{stepping, writer}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 2, crashes: 1, cancels: 1, renewals: 1, repeats: 1},
	},
	{
		name: "reentrant-3", about: "two acquisitions of one owner and one of another, nothing fails",
		kind: reentrant, requests: []request{ours, ours, theirs}, ttl: 2, live: 2, alone: true,
	},
	{
		name: "reentrant-3-timeout", about: "an answer is not waited for",
		kind: reentrant, requests: []request{ours, ours, theirs}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 1},
	},
	{
		name: "reentrant-3-faults", about: "a crash, a renewal, a release sent twice",
		kind: reentrant, requests: []request{ours, ours, theirs}, ttl: 2, live: 2, alone: true,
		faults: budget{crashes: 1, renewals: 1, repeats: 1},
	},
	{
		name: "reentrant-2-faults", about: "one owner alone: a cancel, two time-outs, a release sent twice",
		kind: reentrant, requests: []request{ours, ours}, ttl: 2, live: 2, alone: true,
		faults: budget{timeouts: 2, cancels: 1, repeats: 1},
	},
	{
		name: "local-2", about: "a lease may be handed on inside a process; a renewal, a crash",
		kind: exclusive, requests: []request{turning, turning}, ttl: 2, live: 2, alone: true,
		faults: budget{renewals: 1, crashes: 1},
	},
	{
		name: "local-3", about: "the same with a third process, nothing fails",
		kind: exclusive, requests: []request{turning, turning, plain}, ttl: 2, live: 2, alone: true,
	},
	{
		name: "lane", about: "goroutines that pass the lock on, and another process that wants it",
		kind: inLane, requests: []request{plain, plain, theirs}, ttl: laneTTL, live: 2,
	},
	{
		name: "lane-faults", about: "the same; one is cancelled, and the queue evicted",
		kind: inLane, requests: []request{plain, plain, theirs}, ttl: laneTTL, live: 2,
		faults: budget{cancels: 1, evicts: 1},
	},
	{
		name: "redlock", about: "two acquisitions on three nodes, nothing fails",
		kind: onMajority, ttl: 2,
	},
	{
		name: "redlock-renewal", about: "a lease is extended, by whichever nodes hear of it",
		kind: onMajority, ttl: 2, faults: budget{renewals: 1},
	},
	{
		name: "redlock-restart", about: "a node loses its data",
		kind: onMajority, ttl: 2, faults: budget{crashes: 1},
	},
	{
		name: "replicas", about: "one of two replicas must have it; the one that has more is promoted, after the master is down",
		kind: onReplicas, ttl: 2, live: 2, replicas: 1, faults: budget{crashes: 1},
	},
	{
		name: "replicas-renewal", about: "the same, and a lease is renewed",
		kind: onReplicas, ttl: 2, live: 2, replicas: 1, faults: budget{crashes: 1, renewals: 1},
	},
	{
		name: "replicas-split", about: "both replicas must have it; either is promoted while the old master goes on; a lease is renewed",
		kind: onReplicas, ttl: 2, live: 2, replicas: 2, split: true, faults: budget{crashes: 1, renewals: 1},
	},
	{
		name: "replicas-twice", about: "the same, twice, nothing renewed",
		kind: onReplicas, ttl: 2, live: 2, replicas: 2, split: true, faults: budget{crashes: 2},
	},
}

// explore explores the setup with these rules in force.
func (s setup) explore(rules rule, limit int) verdict {
	switch s.kind {
	case onMajority:
		return explore[majorityState, majorityStep](&majority{setup: s, rules: rules}, limit)
	case inLane:
		s.kind = exclusive
		return explore[passingState, passingStep](&passing{model{setup: s, rules: rules}}, limit)
	case onReplicas:
		return explore[replicatedState, replicatedStep](&replicated{setup: s, rules: rules}, limit)
	case exclusive, weighted, reentrant:
	}
	return explore[state, step](&model{setup: s, rules: rules}, limit)
}

// setupNamed finds a setup by its name.
func setupNamed(name string) (setup, bool) {
	for _, s := range setups {
		if s.name == name {
			return s, true
		}
	}
	return setup{}, false
}
