package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	os.Exit(run(os.Stdout, os.Args[1:]))
}

// run is the command. It returns its exit code: 1 if anything is not as it
// should be.
func run(out io.Writer, args []string) int {
	flags := flag.NewFlagSet("model", flag.ContinueOnError)
	list := flags.Bool("list", false, "list setups and rules")
	name := flags.String("run", "", "explore this setup only")
	without := flags.String("without", "", "take this rule out, and show what breaks")
	limit := flags.Int("limit", 20_000_000, "stop at so many states")
	if flags.Parse(args) != nil {
		return 2
	}
	switch {
	case *list:
		listAll(out)
		return 0
	case *without != "":
		return takeOut(out, *without, *name, *limit)
	case *name != "":
		s, ok := setupNamed(*name)
		if !ok {
			say(out, "no setup %q; see -list", *name)
			return 2
		}
		return failed(holds(out, s, *limit))
	}
	return failed(everything(out, *limit))
}

// failed is the exit code.
func failed(ok bool) int {
	if ok {
		return 0
	}
	return 1
}

// everything explores each setup with all rules, and then takes out each rule.
func everything(out io.Writer, limit int) bool {
	began, ok := time.Now(), true
	say(out, "With all rules, every state that can be reached:")
	for _, s := range setups {
		ok = holds(out, s, limit) && ok
	}
	say(out, "\nWith one rule taken out, the first state that breaks a property:")
	for _, r := range ruleTexts {
		ok = missed(out, r, limit) && ok
	}
	say(out, "\n%s", time.Since(began).Round(time.Second))
	return ok
}

// holds explores a setup with all rules in force.
func holds(out io.Writer, s setup, limit int) bool {
	began := time.Now()
	v := s.explore(every, limit)
	result := "every property holds"
	switch {
	case v.broken != "":
		result = v.broken
	case v.cut:
		result = "UNFINISHED: the limit of states was reached"
	}
	say(out, "  %-19s %9d states, %9d steps, at most %d deep, %5.1f s: %s (%s)",
		s.name, v.states, v.steps, v.depth, time.Since(began).Seconds(), result, s.about)
	show(out, v)
	return v.broken == "" && !v.cut
}

// missed explores where a rule is missed, without it.
func missed(out io.Writer, r ruleText, limit int) bool {
	s, _ := setupNamed(r.setup)
	v := s.explore(every&^r.rule, limit)
	result := fmt.Sprintf("%s, in %d steps, after %d states", property(v.broken), len(v.trace), v.states)
	if v.broken == "" {
		result = fmt.Sprintf("nothing breaks in all %d states: the other rules suffice", v.states)
	}
	ok := property(v.broken) == r.finds && !v.cut
	if !ok {
		result += fmt.Sprintf(" -- EXPECTED %q", r.finds)
	}
	say(out, "  %-17s %-19s %s (%s)", r.name, s.name, result, r.says)
	return ok
}

// property is the name of the property that breaks.
func property(broken string) string {
	name, _, _ := strings.Cut(broken, ":")
	return name
}

// takeOut shows what breaks without a rule.
func takeOut(out io.Writer, name, in string, limit int) int {
	r, ok := ruleNamed(name)
	if !ok {
		say(out, "no rule %q; see -list", name)
		return 2
	}
	if in == "" {
		in = r.setup
	}
	s, ok := setupNamed(in)
	if !ok {
		say(out, "no setup %q; see -list", in)
		return 2
	}
	v := s.explore(every&^r.rule, limit)
	say(out, "Without %s (%s), in %s (%s): %d states", r.name, r.says, s.name, s.about, v.states)
	switch {
	case v.cut:
		say(out, "UNFINISHED: the limit of states was reached")
	case v.broken == "":
		say(out, "every property holds")
	default:
		say(out, "%s", v.broken)
	}
	show(out, v)
	return failed(!v.cut)
}

// show prints a counterexample.
func show(out io.Writer, v verdict) {
	for _, line := range v.trace {
		say(out, "    %s", line)
	}
}

// say prints a line.
func say(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", args...) // nobody is left to tell
}

func listAll(out io.Writer) {
	say(out, "Setups:")
	for _, s := range setups {
		say(out, "  %-19s %s", s.name, s.about)
	}
	say(out, "Rules:")
	for _, r := range ruleTexts {
		say(out, "  %-19s %s", r.name, r.says)
	}
}
