//go:build linux

package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/processtest"
)

const (
	// longVariable asks for the long runs, and seedVariable repeats the choices
	// of one: not its history, which is also the scheduler's.
	longVariable = "HOLDFAST_LONG"
	seedVariable = "HOLDFAST_SEED"

	// quietTime is how long the goroutines may take to come to an end by
	// themselves. The dead among holders and waiters cost them a few TTLs.
	quietTime = 20 * time.Second

	calm = 500 * time.Millisecond // at most, between two faults

	// Aftermath is for how long a fault that is over may still show: answers that
	// a process reads only now, requests that a network had kept.
	Aftermath = 500 * time.Millisecond
)

// Length is how long a history is to be made.
func Length(ordinary time.Duration) time.Duration {
	if os.Getenv(longVariable) != "" {
		return 12 * ordinary
	}
	return ordinary
}

// Storm makes a history of several processes.
type Storm struct {
	Settings processtest.Settings
	Traffic  []Traffic     // of each process; its seed is set here
	Through  []string      // the addresses of Redis for the first of them, if they are others: proxies'
	Seed     uint64        // 0: another each time, or that of the environment
	Patience time.Duration // until all is quiet at the end; 0: quietTime
	// Also is an order for each process beside its traffic, which says in the end
	// that it is quiet. What else it says goes to Other, from several goroutines.
	Also  func(seed uint64) string
	Other func(process string, r processtest.Report) error
	Recorder

	t          *testing.T
	random     *rand.Rand
	crew       []*member
	kills      int
	stops      int
	quietAfter time.Duration

	mu       sync.Mutex
	quiet    map[string]int // how many of its orders are done
	counts   Counts
	troubles []string
}

// member is one process, and those that took its place.
type member struct {
	name       string
	slot       int
	generation int
	process    *processtest.Process
}

// Start starts the processes and their traffic.
func (s *Storm) Start(t *testing.T) {
	t.Helper()
	if s.Seed == 0 {
		s.Seed = newSeed(t)
		t.Logf("%s=%d", seedVariable, s.Seed)
	}
	s.t, s.random = t, rand.New(rand.NewPCG(s.Seed, 0)) //nolint:gosec // a seed repeats it
	s.quiet = make(map[string]int)
	for slot := range s.Traffic {
		m := &member{slot: slot}
		s.crew = append(s.crew, m)
		s.launch(m)
	}
	for _, m := range s.crew {
		s.play(m)
	}
}

func newSeed(t *testing.T) uint64 {
	t.Helper()
	given := os.Getenv(seedVariable)
	if given == "" {
		return rand.Uint64() //nolint:gosec // each run another
	}
	seed, err := strconv.ParseUint(given, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedVariable, err)
	}
	return seed
}

// launch starts a process in the place of a member, under a new name.
func (s *Storm) launch(m *member) {
	s.t.Helper()
	m.generation++
	m.name = fmt.Sprintf("p%d.%d", m.slot, m.generation)
	set := s.Settings
	if m.slot < len(s.Through) {
		set.Addr = s.Through[m.slot]
	}
	m.process = processtest.Start(s.t, set)
	name := m.name
	m.process.Follow(func(r processtest.Report) { s.take(name, r) })
}

func (s *Storm) play(m *member) {
	s.t.Helper()
	traffic := s.Traffic[m.slot]
	traffic.Seed, traffic.Rough = s.random.Uint64(), s.Settings.Rough
	text, err := json.Marshal(traffic)
	if err != nil {
		s.t.Fatal(err)
	}
	m.process.Tell("traffic " + string(text))
	if s.Also != nil {
		m.process.Tell(s.Also(s.random.Uint64()))
	}
}

// isQuiet is called with s.mu.
func (s *Storm) isQuiet(process string) bool {
	orders := 1
	if s.Also != nil {
		orders++
	}
	return s.quiet[process] == orders
}

// take takes in a report. Each process has a goroutine that does.
func (s *Storm) take(process string, r processtest.Report) {
	var err error
	switch r.Event {
	case "begun":
	case eventHeld:
		var o Op
		err = r.Read(&o)
		o.Process = process
		s.Begin(o)
	case eventOver:
		var e ending
		err = r.Read(&e)
		s.End(process, e.Number, e.At, e.Deadline, e.Why)
	case eventQuiet:
		var c Counts
		err = r.Read(&c)
		s.mu.Lock()
		s.quiet[process]++
		s.counts.Add(c)
		s.mu.Unlock()
	case eventTrouble:
		err = errors.New(r.Error)
	default:
		err = fmt.Errorf("%s: %s", r.Event, r.Error)
		if s.Other != nil {
			err = s.Other(process, r)
		}
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.troubles = append(s.troubles, process+": "+err.Error())
	}
}

// Rage kills processes, which others replace at once, and stops processes for
// up to twice their TTL, for that long. Between two faults it calls look.
func (s *Storm) Rage(d time.Duration, look func()) {
	s.t.Helper()
	for end := processtest.Monotonic() + d; processtest.Monotonic() < end; {
		processtest.Await(s.t, processtest.Monotonic()+upTo(s.random, calm))
		slot := s.random.IntN(len(s.crew))
		if oneIn(s.random, 2) {
			s.Kill(slot)
		} else {
			resume := s.Stop(slot)
			processtest.Await(s.t, processtest.Monotonic()+upTo(s.random, 2*s.Settings.TTL))
			resume()
		}
		look()
	}
}

// Kill kills a process. Another replaces it when Kill returns.
func (s *Storm) Kill(slot int) {
	s.t.Helper()
	s.kills++
	m := s.crew[slot]
	at := processtest.Monotonic() // it lived until then at least
	m.process.Kill()
	s.Killed(m.name, at)
	s.launch(m)
	s.play(m)
}

// Stop stops a process until the returned function is called, unless it is killed
// before that.
func (s *Storm) Stop(slot int) (resume func()) {
	s.t.Helper()
	s.stops++
	m := s.crew[slot]
	process, name, from := m.process, m.name, processtest.Monotonic()
	s.Note(from, name, "stopped")
	process.Stop()
	return func() {
		s.Disturb(Span{Process: name, From: from, To: processtest.Monotonic() + Aftermath})
		if m.process != process {
			return
		}
		s.Note(processtest.Monotonic(), name, "resumed")
		process.Resume()
	}
}

// Name is that of the process which is in that slot now.
func (s *Storm) Name(slot int) string { return s.crew[slot].name }

// Sum is what the processes did that were not killed, once they were halted, and
// how long it took until all were quiet then.
func (s *Storm) Sum() (Counts, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, s.quietAfter
}

// Halt is Still, and verifies the history.
func (s *Storm) Halt() []Op {
	s.t.Helper()
	s.Still()
	return s.Verify(s.t)
}

// Still lets every goroutine of every process come to the end of its turn, with no
// wait cut off, and closes the processes. It returns the history.
func (s *Storm) Still() []Op {
	s.t.Helper()
	for _, m := range s.crew {
		m.process.Tell("halt")
	}
	before := processtest.Monotonic()
	defer s.explain() // should the next line end the test
	contract.Within(s.t, cmp.Or(s.Patience, quietTime), "every goroutine to have its turn", s.allQuiet)
	s.quietAfter = processtest.Monotonic() - before
	for _, m := range s.crew {
		m.process.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, text := range s.troubles {
		if i == 5 {
			s.t.Errorf("and %d more", len(s.troubles)-i)
			break
		}
		s.t.Error(text)
	}
	ops, _ := s.Ops() // who verifies it looks at the error
	s.t.Logf("%d holds; %d killed, %d stopped; quiet after %v; of those not killed: %+v; waits:%s",
		len(ops), s.kills, s.stops, s.quietAfter.Round(time.Millisecond), s.counts, Waits(ops))
	return ops
}

// explain says why a history does not come to an end: what is in Redis, and what
// the goroutines that are left do.
func (s *Storm) explain() {
	s.t.Helper()
	if s.allQuiet() {
		return
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Settings.Addr})
	defer func() { _ = rdb.Close() }()
	for range 2 { // what changes in between?
		s.t.Logf("Redis at %v: %s", processtest.Monotonic(), contents(s.t, rdb))
		processtest.Await(s.t, processtest.Monotonic()+s.Settings.TTL)
	}
	for _, m := range s.crew {
		s.mu.Lock()
		quiet := s.isQuiet(m.name)
		s.mu.Unlock()
		if !quiet {
			s.t.Logf("%s is not quiet", m.name)
			m.process.Tell("stacks")
		}
	}
	for _, m := range s.crew {
		m.process.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.troubles {
		s.t.Log(text)
	}
	ops, err := s.Ops()
	s.t.Logf("of the history: %v\n%s", err, Timeline(ops, s.Notes(), processtest.Monotonic(), 2*shownEvents))
}

func (s *Storm) allQuiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.crew {
		if !s.isQuiet(m.name) {
			return false
		}
	}
	return true
}
