//go:build linux

package torture_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

const (
	processes  = 4
	proxied    = 2 // of them: the first
	mostActive = 4 // faults at once

	// patience is until all is quiet once nothing fails any more: for the TTLs of
	// those that died or were left behind, one after the other, on any machine.
	patience = 90 * time.Second
)

// plan is what a round is to be.
type plan struct {
	seed    uint64
	number  int
	durable bool // the server keeps its data over a restart
	faults  []fault
	length  time.Duration
	gap     time.Duration // between the beginnings of two faults, on the average
}

func (p plan) String() string {
	names := make([]string, 0, len(p.faults))
	for _, f := range p.faults {
		names = append(names, f.name)
	}
	what := strings.Join(names, ",")
	if len(p.faults) > 1 {
		what = "mixed"
	}
	if p.durable {
		return what + " with AOF"
	}
	return what
}

// round is one round under way.
type round struct {
	t       *testing.T
	plan    plan
	random  *rand.Rand
	server  *testredis.Server
	redis   *redis.Client
	proxies []*faultproxy.Proxy
	storm   *history.Storm
	book    book

	active  []active
	stopped [processes]bool
	cut     int  // the proxy that was chosen last
	skipped bool // the last fault came to nothing
	struck  map[string]int
	losses  int
}

func newRound(t *testing.T, p plan) *round {
	t.Helper()
	r := &round{t: t, plan: p, random: rand.New(rand.NewPCG(p.seed, uint64(p.number))), struck: make(map[string]int)}
	var args []string
	if p.durable {
		// It writes before it replies, and what was written outlives the process:
		// fsync matters only where the machine fails, and waits for the disk.
		args = []string{"--appendonly", "yes", "--appendfsync", "no"}
	}
	r.server = testredis.Start(t, args...)
	r.redis = r.server.Client(t)
	r.storm = &history.Storm{
		Settings: processtest.Settings{Addr: r.server.Addr(), TTL: ttl, Rough: true, Timeout: ttl},
		Seed:     r.random.Uint64() | 1,
		Patience: patience,
		Also:     callOrder,
		Other:    r.book.take,
	}
	for range proxied {
		proxy := faultproxy.New(t, r.server.Addr())
		r.proxies = append(r.proxies, proxy)
		r.storm.Through = append(r.storm.Through, proxy.Addr())
	}
	for range processes {
		r.storm.Traffic = append(r.storm.Traffic, history.Traffic{
			Goroutines: 6, Requests: requests(), Pause: 8 * time.Millisecond,
			Hold: 4 * time.Millisecond, Long: 2 * ttl, LongOne: 100, // so that some would outlast a loss of data
			CancelOne: 6, Wait: 100 * time.Millisecond, LightenOne: 3, RenewOne: 10, AbandonOne: 50,
		})
	}
	return r
}

func callOrder(seed uint64) string {
	text, err := json.Marshal(calling{Goroutines: 2, Page: time.Second, TTL: ttl, Early: 100 * time.Millisecond, Seed: seed})
	if err != nil {
		panic(err)
	}
	return "calls " + string(text)
}

// upTo is a time from 0 to d.
func (r *round) upTo(d time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(d) + 1))
}

// pass lets time pass.
func (r *round) pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

func (r *round) note(format string, args ...any) {
	r.storm.Note(processtest.Monotonic(), "round", fmt.Sprintf(format, args...))
}

// run lets the faults come and go, ends them, and looks at what was recorded and
// what is left.
func (r *round) run(all *sum) {
	r.t.Helper()
	r.storm.Start(r.t)
	stopWatching := r.watch()
	next := processtest.Monotonic() + r.upTo(2*r.plan.gap)
	for end := processtest.Monotonic() + r.plan.length; ; {
		now := processtest.Monotonic()
		if now >= end {
			break
		}
		if r.mend(now) {
			continue
		}
		if now >= next {
			r.strike()
			next = processtest.Monotonic() + r.upTo(2*r.plan.gap)
		}
		if len(r.active) == 0 {
			history.LookAtWeights(r.t, r.redis, keyOf("semaphore"))
			history.LookAtWeights(r.t, r.redis, keyOf("rwlock"))
		}
		r.pass(5 * time.Millisecond)
	}
	for r.mend(1<<63 - 1) {
	}
	r.note("------ no fault from here on")
	stopWatching()
	ops := r.storm.Halt()
	r.keep(ops)
	pages := r.search(all)
	r.nothingLeft(slices.Sorted(maps.Keys(pages)))
	all.add(r, ops)
}

// search looks for an order of the calls of each mutex.
func (r *round) search(all *sum) map[string][]done {
	r.t.Helper()
	pages := r.book.pages()
	losses := r.storm.Losses()
	for name, page := range pages {
		v, err := search(page, losses)
		all.searched(v)
		if err == nil {
			continue
		}
		path := r.file(name + ".html")
		r.t.Errorf("%s, %d calls: %v; drawn in %s", name, len(page), err, path)
		if err := v.draw(path); err != nil {
			r.t.Error(err)
		}
	}
	return pages
}

// keep writes down a history that fails.
func (r *round) keep(ops []history.Op) {
	r.t.Helper()
	if !r.t.Failed() {
		return
	}
	path := r.file("history.txt")
	var text strings.Builder
	for _, lock := range lockNames {
		its := slices.DeleteFunc(slices.Clone(ops), func(o history.Op) bool { return o.Lock != lock })
		fmt.Fprintf(&text, "%s\n%s\n", lock, history.Timeline(its, r.storm.Notes(), 0, 1<<31))
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		r.t.Error(err)
	}
	r.t.Logf("the history is kept in %s", path)
}

// file is the path for what is to be kept of this round.
func (r *round) file(name string) string {
	r.t.Helper()
	if err := os.MkdirAll(*kept, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		r.t.Error(err)
	}
	path, err := filepath.Abs(filepath.Join(*kept, fmt.Sprintf("seed-%d-round-%d-%s", r.plan.seed, r.plan.number, name)))
	if err != nil {
		r.t.Error(err)
	}
	return path
}
