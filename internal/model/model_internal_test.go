package main

import (
	"strings"
	"testing"
)

// small is a setup of each kind that is explored in a moment.
var small = []string{"local-2", "permits-2-brief", "rw-2-brief", "reentrant-2-faults"}

func named(t *testing.T, name string) setup {
	t.Helper()
	s, ok := setupNamed(name)
	if !ok {
		t.Fatalf("no setup %q", name)
	}
	return s
}

func TestEveryPropertyHolds(t *testing.T) {
	for _, name := range small {
		t.Run(name, func(t *testing.T) {
			v := named(t, name).explore(every, 1_000_000)
			if v.cut || v.broken != "" {
				t.Errorf("%s after %d states\n%s", v.broken, v.states, strings.Join(v.trace, "\n"))
			}
		})
	}
}

// Rules whose absence is found within some thousand states.
func TestRuleTakenOutIsMissed(t *testing.T) {
	for _, name := range []string{
		"late-is-none", "tombstone", "any-head", "skip-dead", "hand-over", "wait-turn",
		"strict-order", "reap-first", "only-held", "own-limit", "several-grants", "pump-on",
		"weight-stays", "over-first", "idempotent", "lower-grants", "unknown-releases", "outlive", "reaped-before", "holds-deadline", "token-block", "majority", "release-all",
		"leaves-with-hold", "confirmed", "short-is-given",
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := ruleNamed(name)
			if !ok {
				t.Fatal("no such rule")
			}
			v := named(t, r.setup).explore(every&^r.rule, 100_000)
			if property(v.broken) != r.finds {
				t.Errorf("found %q, not %q, in %d states", v.broken, r.finds, v.states)
			}
			if len(v.trace) == 0 {
				t.Error("no counterexample")
			}
		})
	}
}

// What canonical forgets hides nothing: with all of it kept, the same holds and
// the same breaks, only over more states.
func TestForgettingHidesNothing(t *testing.T) {
	for _, name := range []string{"rw-2-brief"} {
		m := &model{setup: named(t, name), rules: every, raw: true}
		if v := explore[state, step](m, 1_000_000); v.cut || v.broken != "" {
			t.Errorf("%s: %s after %d states", name, v.broken, v.states)
		}
	}
	for _, name := range []string{"late-is-none", "tombstone", "lower-grants", "outlive"} {
		r, _ := ruleNamed(name)
		m := &model{setup: named(t, r.setup), rules: every &^ r.rule, raw: true}
		if v := explore[state, step](m, 200_000); property(v.broken) != r.finds {
			t.Errorf("without %s: found %q, not %q, in %d states", name, v.broken, r.finds, v.states)
		}
	}
}

func TestEveryRuleHasItsWords(t *testing.T) {
	seen := rule(0)
	for _, r := range ruleTexts {
		seen |= r.rule
		named(t, r.setup)
	}
	if seen != every {
		t.Errorf("rules without words: %b", every&^seen)
	}
}

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"-list", 0, "rw-2-faults"},
		{"-run reentrant-2-faults", 0, "every property holds"},
		{"-run reentrant-2-faults -limit 100", 1, "UNFINISHED"},
		{"-without lower-grants", 0, "IDLE"},
		{"-run none", 2, "no setup"},
		{"-without none", 2, "no rule"},
	} {
		var out strings.Builder
		if code := run(&out, strings.Fields(c.args)); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit %d, want %d and %q in:\n%s", c.args, code, c.code, c.says, out.String())
		}
	}
}
