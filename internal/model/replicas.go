package main

import (
	"fmt"
	"strings"
)

// The lock on a master whose replicas lag behind it. One of them may be promoted,
// with whatever it has; the old master may go on meanwhile. A lease counts only
// once so many replicas have it: what was acquired, or granted by somebody else's
// release, is renewed by its own client with a WAIT behind it.

// replicated is the model of it.
type replicated struct {
	setup
	rules rule
}

// replicatedState is everything at one instant.
type replicatedState struct {
	site      [nodes]site
	seeker    [seekers]waiter
	latest    int8 // the site promoted last
	failovers int8 // that may still happen
	renewals  int8
}

// waiter is an acquisition at its client, and what is under way to it and from it.
type waiter struct {
	phase   phase // idle, waiting, held, over
	left    int8
	entered bool  // its first acquire was answered
	ask     call  // acquire or poll
	wake    call  // wake-up; its age is that of the grant
	proof   proof // a renewal with a WAIT behind it
	release bool  // under way
}

// proof is a renewal of which so many replicas must have heard.
type proof struct {
	call
	at     int8        // the master that wrote it
	behind [nodes]int8 // written: what a replica must still receive; never: it will not have it
}

const never int8 = -1

// replicatedStep is one thing that happens.
type replicatedStep = majorityStep

var _ protocol[replicatedState, replicatedStep] = (*replicated)(nil)

func (m *replicated) keeps(r rule) bool { return m.rules&r != 0 }

func (m *replicated) initial() replicatedState {
	return replicatedState{failovers: m.faults.crashes, renewals: m.faults.renewals}
}

func (m *replicated) check(s *replicatedState) string {
	if s.seeker[0].believes() && s.seeker[1].believes() {
		return "EXCLUSION: two believe that enough replicas have their lease"
	}
	for i := range s.seeker {
		k := &s.seeker[i]
		if s.failovers == m.faults.crashes && k.phase == over && !k.release && s.site[0].has.holder == int8(i)+1 { //nolint:gosec // two of them
			return "GHOST: the master has a hold whose client has left, and nothing under way frees it"
		}
		if k.phase == waiting && !m.servedAlone(*s, int8(i)) { //nolint:gosec // two of them
			return fmt.Sprintf("STUCK: c%d waits; if the other dies now, all messages are lost, and the replicas come back, it is not served within TTL + liveness + 1", i)
		}
	}
	return ""
}

func (k *waiter) believes() bool { return k.phase == held && k.left > 0 }

// next emits every step that can happen.
func (m *replicated) next(s *replicatedState, each func(replicatedStep, *replicatedState)) {
	emit := func(who, at int8, what string, change func(*replicatedState)) {
		t := *s
		change(&t)
		t.forget()
		each(replicatedStep{what: what, who: who, at: at}, &t)
	}
	for i := range s.seeker {
		m.seekerSteps(s, int8(i), emit) //nolint:gosec // two of them
		for j := range s.site {
			m.siteServes(s, int8(i), int8(j), emit) //nolint:gosec // few
		}
	}
	for j := range s.site {
		m.siteSteps(s, int8(j), emit) //nolint:gosec // three of them
	}
	emit(-1, -1, "-- one tick passes --", func(t *replicatedState) { m.tick(t) })
}

type emitter = func(who, at int8, what string, change func(*replicatedState))

// seekerSteps are what a client does, and what it hears.
func (m *replicated) seekerSteps(s *replicatedState, i int8, emit emitter) {
	do := func(what string, change func(t *replicatedState, k *waiter)) {
		emit(i, -1, what, func(t *replicatedState) { change(t, &t.seeker[i]) })
	}
	k := &s.seeker[i]
	switch k.phase {
	case idle:
		if i == 0 || s.seeker[i-1].phase != idle { // any other order is the same run
			do("sends its first acquire", func(_ *replicatedState, k *waiter) { k.phase, k.ask.stage = waiting, asked })
		}
	case waiting:
		if k.ask.stage == absent && k.proof.stage == absent {
			do("polls", func(_ *replicatedState, k *waiter) { k.ask.stage = asked })
		}
		do("gives up and leaves", func(_ *replicatedState, k *waiter) { k.leave() })
	case held:
		do("ends its lease", func(_ *replicatedState, k *waiter) { k.leave() })
		if k.left > 0 && s.renewals > 0 && k.proof.stage == absent {
			do("sends a renewal", func(t *replicatedState, k *waiter) { t.renewals--; k.proof.stage = asked })
		}
	case lowering, over, dead:
	}
	if k.ask.stage > asked {
		do("hears of its acquire", func(_ *replicatedState, k *waiter) { m.hearAcquired(k) })
	}
	if k.wake.stage != absent {
		do("is woken", func(_ *replicatedState, k *waiter) { m.given(k, &k.wake) })
	}
	switch k.proof.stage {
	case declined:
		do("hears that its renewal found nothing", func(_ *replicatedState, k *waiter) { k.leave() })
	case granted:
		do("hears that enough replicas have it", func(_ *replicatedState, k *waiter) { m.believe(k, &k.proof.call) })
	case written:
		do("hears that too few replicas have it", func(_ *replicatedState, k *waiter) { m.short(k) })
	case absent, asked:
	}
}

// hearAcquired takes in the answer to an acquire or a poll.
func (m *replicated) hearAcquired(k *waiter) {
	k.entered = true
	switch k.ask.stage {
	case granted:
		m.given(k, &k.ask)
	case declined:
		k.leave() // a new acquisition would start over
	case absent, asked, written:
	}
	k.ask = call{}
}

// given is what a client does that was told that it has the lock.
func (m *replicated) given(k *waiter, c *call) {
	if k.phase == waiting && k.proof.stage == absent {
		if m.keeps(confirmed) {
			k.proof.stage = asked
		} else {
			m.believe(k, c)
		}
	}
	*c = call{}
}

// enough tells whether as many replicas have it as the lock asks for. A WAIT on a
// connection that wrote nothing counts what others wrote: nothing in particular.
func (m *replicated) enough(p *proof) bool {
	have := int8(0)
	for _, b := range p.behind {
		if b == 0 {
			have++
		}
	}
	return have >= m.replicas || !m.keeps(waitBehindWrite)
}

// counted is a WAIT that ends well.
func (p *proof) counted() { *p = proof{call: call{stage: granted, age: p.age}} }

// believe starts a lease, or extends it, from the send of that call.
func (m *replicated) believe(k *waiter, c *call) {
	left := m.ttl - c.age
	k.proof = proof{}
	switch {
	case k.phase == held && k.left > 0:
		k.left = max(k.left, left)
	case k.phase == waiting && left > 0:
		k.phase, k.left = held, left
	default:
		k.leave()
	}
}

// short is a renewal that too few replicas have: a lease that counts already stays
// as it is.
func (m *replicated) short(k *waiter) {
	switch {
	case k.phase == held && m.keeps(countedRenewals):
		k.proof = proof{}
	case k.phase == held:
		m.believe(k, &k.proof.call)
	default:
		k.leave()
		k.release = m.keeps(shortIsGiven)
	}
}

// leave ends an acquisition and sends its release. Requests under way stay so.
func (k *waiter) leave() {
	*k = waiter{phase: over, release: true, ask: k.ask, proof: k.proof}
}

// tick lets time pass, everywhere alike.
func (m *replicated) tick(s *replicatedState) {
	for j := range s.site {
		n := &s.site[j]
		n.has.tick()
		for b := range n.stream[:n.behind] {
			n.stream[b].tick()
		}
	}
	for i := range s.seeker {
		k := &s.seeker[i]
		k.left = max(0, k.left-1)
		for _, c := range []*call{&k.ask, &k.wake, &k.proof.call} {
			if c.stage != absent {
				c.age = min(c.age+1, m.ttl)
			}
		}
	}
}

// servedAlone judges liveness by the worst that can follow: the other client dies
// at once, everything under way is lost, and the waiter polls once a tick. The
// replicas follow the latest master again: without them no lease could count.
func (m *replicated) servedAlone(s replicatedState, i int8) bool {
	s.seeker[1-i] = waiter{phase: dead}
	k := &s.seeker[i]
	k.ask, k.wake, k.proof = call{}, call{}, proof{}
	for j := range s.site {
		if int8(j) != s.latest && !s.site[j].down { //nolint:gosec // three of them
			s.turn(int8(j)) //nolint:gosec // three of them
		}
	}
	for range m.ttl + m.live + 1 {
		if k.phase == over { // a new acquisition, under the old one's number
			*k = waiter{phase: waiting}
			for j := range s.site {
				s.site[j].has.grave[i] = false
			}
		}
		k.ask.stage = asked
		m.serveAsk(&s, i, s.latest)
		s.settle()
		if m.hearAcquired(k); k.proof.stage == asked {
			m.serveProof(&s, i, s.latest)
			s.settle()
			if k.proof.stage == written && m.enough(&k.proof) {
				return true
			}
		}
		if k.believes() {
			return true
		}
		m.tick(&s)
	}
	return false
}

// forget drops what can no longer make a difference.
func (s *replicatedState) forget() {
	for j := range s.site {
		if s.site[j].down {
			s.site[j] = site{down: true}
		}
	}
	for i := range s.seeker {
		k := &s.seeker[i]
		if k.phase != over {
			continue
		}
		// Requests change a master whoever sent them; answers nobody hears.
		if k.ask.stage != asked {
			k.ask = call{}
		}
		if k.proof.stage != asked {
			k.proof = proof{}
		}
		k.ask.age, k.proof.age = 0, 0
	}
}

// describe puts a step into words.
func (m *replicated) describe(e replicatedStep, _, after *replicatedState) string {
	text := e.what
	switch {
	case e.who >= 0 && e.at >= 0:
		text = fmt.Sprintf("s%d %s c%d", e.at, e.what, e.who)
	case e.who >= 0:
		text = fmt.Sprintf("c%d %s", e.who, e.what)
	case e.at >= 0:
		text = fmt.Sprintf("s%d %s", e.at, e.what)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-40s|", text)
	for j, n := range after.site {
		switch {
		case n.down:
			fmt.Fprintf(&b, " s%d down", j)
			continue
		case n.follows == int8(j): //nolint:gosec // three of them
			fmt.Fprintf(&b, " s%d MASTER", j)
		default:
			fmt.Fprintf(&b, " s%d", j)
		}
		if n.has.holder > 0 {
			fmt.Fprintf(&b, " c%d(%d)", n.has.holder-1, n.has.left)
		}
		if n.behind > 0 {
			fmt.Fprintf(&b, " %d behind", n.behind)
		}
	}
	b.WriteString(" |")
	for i := range after.seeker {
		k := &after.seeker[i]
		switch {
		case k.believes():
			fmt.Fprintf(&b, " c%d HOLDS(for %d)", i, k.left)
		case k.phase == held:
			fmt.Fprintf(&b, " c%d past its deadline", i)
		case k.phase == waiting && k.proof.stage != absent:
			fmt.Fprintf(&b, " c%d confirms", i)
		case k.phase == waiting:
			fmt.Fprintf(&b, " c%d waits", i)
		case k.phase == over:
			fmt.Fprintf(&b, " c%d over", i)
		}
	}
	return b.String()
}
