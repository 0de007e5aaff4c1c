//go:build linux

package torture_test

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
)

// A fault begins, and is over when the function that it returned was called. That
// of one which is over at once is nil.
type fault struct {
	name  string
	where place
	most  time.Duration // that it lasts
	begin func(r *round) (end func())
}

// place says what a fault is about, and so which others it may be at work beside.
type place int

const (
	clients place = iota // beside anything
	network              // beside what is not the network
	server               // needs a server that answers, to begin and to end
	silence              // lets the server not answer: beside no other of the server
)

var faults = []fault{
	{"kill", clients, 0, func(r *round) func() {
		r.storm.Kill(r.random.IntN(processes))
		return nil
	}},
	{"stop", clients, 2 * ttl, stop},
	{"restart", silence, 0, restart},
	{"freeze", silence, 3 * ttl / 2, func(r *round) func() { // SIGSTOP of Redis
		r.server.Pause()
		return r.server.Resume
	}},
	{"pause", silence, ttl, pauseClients},
	{"flush", server, 0, func(r *round) func() {
		r.lose("", `redis.call('FLUSHALL')`)
		return nil
	}},
	{"scripts", server, 0, func(r *round) func() {
		for range 1 + r.random.IntN(20) {
			r.must(r.redis.ScriptFlush(r.t.Context()).Err())
		}
		return nil
	}},
	{"connections", server, 0, func(r *round) func() {
		r.must(r.redis.ClientKillByFilter(r.t.Context(), "TYPE", "normal").Err())
		return nil
	}},
	{"subscriptions", server, 0, func(r *round) func() {
		r.must(r.redis.ClientKillByFilter(r.t.Context(), "TYPE", "pubsub").Err())
		return nil
	}},
	{"memory", server, ttl, func(r *round) func() {
		if r.atWork("type") { // which it would not let be written
			return r.skip()
		}
		r.must(r.redis.ConfigSet(r.t.Context(), "maxmemory", "1").Err())
		return func() { r.must(r.redis.ConfigSet(r.t.Context(), "maxmemory", "0").Err()) }
	}},
	{"type", server, ttl / 2, wrongType},
	{"cut", network, 0, func(r *round) func() {
		r.proxy().CutAll()
		return nil
	}},
	{"blackhole", network, 3 * ttl / 2, blackhole},
	{"swallow", network, ttl, swallow},
	{"delay", network, ttl, delay},
	{"copies", network, 2 * ttl, copies},
	{"messages", network, ttl, messages},
}

func stop(r *round) func() {
	slot := r.random.IntN(processes)
	if r.stopped[slot] {
		return r.skip()
	}
	r.stopped[slot] = true
	resume := r.storm.Stop(slot)
	return func() {
		r.stopped[slot] = false
		resume()
	}
}

// restart ends the server as a crash does, or as an operator would.
func restart(r *round) func() {
	since := processtest.Monotonic()
	if r.random.IntN(2) == 0 {
		r.server.Kill()
	} else {
		r.server.Stop()
	}
	if !r.plan.durable {
		// It is gone, so that its last token is lower than the time.
		r.record(history.Loss{Since: since, At: processtest.Monotonic(), Token: time.Now().UnixMicro()})
	}
	r.pass(r.upTo(ttl / 2))
	r.server.Restart()
	return nil
}

func pauseClients(r *round) func() {
	what := []string{"ALL", "WRITE"}[r.random.IntN(2)]
	d := r.upTo(ttl)
	r.must(r.redis.Do(r.t.Context(), "CLIENT", "PAUSE", d.Milliseconds()+1, what).Err())
	return func() { r.must(r.redis.Do(r.t.Context(), "CLIENT", "UNPAUSE").Err()) }
}

// wrongType puts a list under the key of a lock, in place of what is there.
func wrongType(r *round) func() {
	if r.atWork("memory") {
		return r.skip()
	}
	lock := lockNames[r.random.IntN(len(lockNames))]
	r.lose(lock, `redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'not a lock')`, keyOf(lock))
	return func() { // it may be a lock again, where everything was lost meanwhile
		r.lose(lock, `redis.call('DEL', KEYS[1])`, keyOf(lock))
	}
}

// lose loses data, in one instant of which the server says when it was. By a
// script, since a transaction is refused when Redis is out of memory.
func (r *round) lose(lock, by string, keys ...string) {
	r.t.Helper()
	const now = `local t = redis.call('TIME'); `
	since := processtest.Monotonic()
	token, err := r.redis.Eval(r.t.Context(), now+by+`; return t[1] * 1000000 + t[2]`, keys).Int64()
	r.must(err)
	r.record(history.Loss{Lock: lock, Since: since, At: processtest.Monotonic(), Token: token})
}

func (r *round) record(l history.Loss) {
	r.losses++
	r.storm.Lose(l)
}

// must fails the test if what a fault needs of the server goes wrong.
func (r *round) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("the fault itself failed: %v", err)
	}
}

// active is a fault at work.
type active struct {
	fault
	since time.Duration
	due   time.Duration
	end   func()
	names []string // of the processes that it concerns; nil: all
}

// skip lets a fault come to nothing.
func (r *round) skip() func() {
	r.skipped = true
	return nil
}

func (r *round) atWork(name string) bool {
	return slices.ContainsFunc(r.active, func(a active) bool { return a.name == name })
}

// may tells whether a fault may begin beside those at work.
func (r *round) may(f fault) bool {
	if len(r.active) >= mostActive {
		return false
	}
	return !slices.ContainsFunc(r.active, func(a active) bool {
		switch f.where {
		case network:
			return a.where == network
		case silence:
			return a.where == silence || a.where == server
		case server:
			return a.where == silence
		case clients:
		}
		return false
	})
}

// strike begins one of the faults of this round.
func (r *round) strike() {
	f := r.plan.faults[r.random.IntN(len(r.plan.faults))]
	if !r.may(f) {
		return
	}
	a := active{fault: f, since: processtest.Monotonic()}
	r.skipped = false
	r.note("------ %s", f.name)
	if a.end = f.begin(r); r.skipped {
		return
	}
	r.struck[f.name]++
	if f.where == network {
		a.names = []string{r.storm.Name(r.cut)}
	}
	a.due = processtest.Monotonic()
	if a.end != nil {
		a.due += r.upTo(f.most)
		r.active = append(r.active, a)
		return
	}
	r.over(a)
}

// mend ends the first fault that is due, and tells whether there was one.
func (r *round) mend(now time.Duration) bool {
	for i, a := range r.active {
		if a.due <= now {
			r.active = slices.Delete(r.active, i, i+1)
			a.end()
			r.note("------ %s is over", a.name)
			r.over(a)
			return true
		}
	}
	return false
}

// over records when a fault was at work, for whom. That of a process which is
// killed concerns nobody else, and the storm itself records those that are stopped.
func (r *round) over(a active) {
	span := history.Span{From: a.since, To: processtest.Monotonic() + history.Aftermath}
	switch a.where {
	case clients:
	case network:
		for _, name := range append(a.names, r.storm.Name(r.cut)) {
			span.Process = name
			r.storm.Disturb(span)
		}
	case server, silence:
		r.storm.Disturb(span)
	}
}
