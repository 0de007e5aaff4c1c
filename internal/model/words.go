package main

import (
	"fmt"
	"strings"
)

var requestTexts = map[kind]string{
	first: "first acquire", poll: "poll", release: "release", renew: "renewal",
	downgrade: "downgrade", pump: "pump",
}

var answerTexts = map[answer]string{yours: "yours", notYet: "not yet", gone: "nothing there"}

// describe puts a step into words, with what it leads to.
func (m *model) describe(e step, before, after *state) string {
	text := m.happens(e, before)
	if e.action == tick {
		return fmt.Sprintf("%-58s", "-- one tick passes --") + m.outline(after)
	}
	return fmt.Sprintf("%-58s", text) + m.outline(after)
}

// happens says what a step is.
func (m *model) happens(e step, before *state) string {
	c := before.client[e.id]
	who := fmt.Sprintf("c%d", e.id)
	switch e.action {
	case starts:
		return who + " sends its first acquire"
	case polls:
		if !c.answered {
			return who + " sends its first acquire again"
		}
		return who + " polls"
	case gaveUp:
		return who + " waits no longer for the answer"
	case asksAgain:
		return who + " sends its downgrade again"
	case cancels:
		return who + " is cancelled and sends a leave"
	case releases:
		return who + " ends its lease and sends its release"
	case expires:
		return who + ": its deadline has passed; it sends its release"
	case renews:
		return who + " sends a renewal"
	case lowers:
		return who + " ends its writer's lease and sends a downgrade"
	case handsOn:
		return who + " hands its lease on to another goroutine"
	case drops:
		return who + " gives the downgrade up"
	case crashes:
		return who + " crashes"
	case served:
		return "server runs the " + requestTexts[e.message.kind] + " of " + who
	case repeated:
		return "server runs the " + requestTexts[e.message.kind] + " of " + who + ", its answer is lost"
	case heard:
		return who + " hears: " + hears(e.message)
	case tick:
	}
	return ""
}

// hears says what an answer or a wake-up says.
func hears(f message) string {
	var b strings.Builder
	switch f.kind {
	case wakeUp:
		fmt.Fprintf(&b, "wake-up, token %d", f.token)
	case acquired, renewed, downgraded:
		fmt.Fprintf(&b, "%s, token %d, asked %d ago", answerTexts[f.answer], f.token, f.age)
	case first, poll, release, renew, downgrade, pump:
	}
	if f.more {
		b.WriteString(", more")
	}
	return b.String()
}

// outline is a state in a line. Tokens are ranks: they may step back together.
func (m *model) outline(s *state) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| used %d", s.server.used)
	for id, h := range s.server.hold {
		if h.weight > 0 {
			fmt.Fprintf(&b, " [c%d weight %d token %d left %d]", id, h.weight, h.token, h.left)
		}
	}
	for i, id := range s.server.queue[:s.server.places] {
		if i == 0 {
			b.WriteString(" queue")
		}
		fmt.Fprintf(&b, " c%d(%d)", id, s.server.live[id])
	}
	b.WriteString(" |")
	for i := range m.requests {
		b.WriteString(m.stands(s, int8(i))) //nolint:gosec // fewer than maxIDs
	}
	return b.String()
}

// stands says how an acquisition stands at its client.
func (m *model) stands(s *state, id int8) string {
	c := s.client[id]
	switch c.phase {
	case idle:
		return ""
	case waiting:
		return fmt.Sprintf(" c%d waits(base -%d)", id, c.base)
	case held:
		if c.left == 0 {
			return fmt.Sprintf(" c%d past its deadline", id)
		}
		return fmt.Sprintf(" c%d HOLDS(%d, token %d, for %d)", id, m.weight(s, id), c.token, c.left)
	case lowering:
		return fmt.Sprintf(" c%d lowers", id)
	case over:
		return fmt.Sprintf(" c%d over", id)
	case dead:
		return fmt.Sprintf(" c%d dead", id)
	}
	return ""
}
