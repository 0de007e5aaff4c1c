package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/results"
)

// Options say how much is run.
type Options struct {
	Rounds int
	Window time.Duration
	Quick  bool
	Log    io.Writer
}

// Run does everything for one table. A run that fails is noted in the result, and
// the rest goes on; the error is that ctx ended.
func (s Spec) Run(ctx context.Context, bench *fleet.Bench, o Options) (*results.Table, error) {
	t := &results.Table{Number: s.Number, Rounds: o.Rounds, Date: time.Now().UTC().Format(time.DateOnly)}
	for _, c := range s.Cases {
		if c.Long && o.Quick {
			continue
		}
		r := runner{bench: bench, options: o, table: t, kase: c}
		if c.Few > 0 {
			r.options.Rounds = min(o.Rounds, c.Few)
		}
		if c.Windows {
			r.windows(ctx)
		} else {
			r.rounds(ctx)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// runner does one case.
type runner struct {
	bench   *fleet.Bench
	options Options
	table   *results.Table
	kase    Case
}

// rounds runs the libraries in turn, and each round begins with another one, so that
// what the machine does beside it falls on all of them.
func (r *runner) rounds(ctx context.Context) {
	all := slices.DeleteFunc(slices.Clone(r.kase.Libraries), func(name string) bool { return !r.warm(ctx, name) })
	if len(all) == 0 {
		return
	}
	for round := range r.options.Rounds {
		start := round % len(all)
		for _, name := range slices.Concat(all[start:], all[:start]) {
			if ctx.Err() == nil {
				r.round(ctx, round, name)
			}
		}
	}
}

func (r *runner) round(ctx context.Context, round int, name string) {
	lead, length := r.kase.Lead, r.kase.Length(r.options.Window)
	job := r.kase.Job
	job.Library = name
	if lead == 0 {
		lead = fleet.WarmUp
	}
	all, err := r.bench.Windows(ctx, job, lead, length, 1)
	if err != nil {
		r.note(name, err)
		return
	}
	r.enter(round, name, all[0])
}

// windows runs each library once, for as many windows as there are rounds.
func (r *runner) windows(ctx context.Context) {
	for _, name := range r.kase.Libraries {
		if !r.warm(ctx, name) {
			continue
		}
		job := r.kase.Job
		job.Library = name
		all, err := r.bench.Windows(ctx, job, fleet.WarmUp, r.kase.Length(r.options.Window), r.options.Rounds)
		if err != nil {
			r.note(name, err)
			continue
		}
		for round, o := range all {
			r.enter(round, name, o)
		}
	}
}

// warm lets a JVM compile what it will need, and tells whether there is one if one
// is needed.
func (r *runner) warm(ctx context.Context, name string) bool {
	l, err := library.ByName(name)
	if err != nil || !l.Remote() {
		return err == nil
	}
	if !r.bench.HasJVM() {
		r.table.Skip("", name, "not run: "+fleet.ErrNoJVM.Error())
		return false
	}
	if r.kase.Windows {
		return true // it does little, for long
	}
	job := r.kase.Job
	job.Library = name
	if _, err := r.bench.Windows(ctx, job, 0, 2*r.options.Window, 1); err != nil {
		r.note(name, err)
		return false
	}
	return true
}

func (r *runner) enter(round int, name string, o *fleet.Outcome) {
	found := r.kase.Measure(o)
	r.table.Add(round, r.kase.Name, name, found)
	r.logf("round %d: %s: %s: %.0f cycles/s, %.1f sent a cycle, %.0f sent/s\n",
		round+1, r.kase.Name, name, found[rate], found[sent], found[sentRate])
	for _, w := range o.Workers {
		if w.Failures > 0 {
			r.note(name, errors.New(w.Failure))
		}
	}
}

func (r *runner) note(name string, err error) {
	r.table.Skip(r.kase.Name, name, err.Error())
	r.logf("%s: %s: %v\n", r.kase.Name, name, err)
}

func (r *runner) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.options.Log, "table %d, "+format, append([]any{r.table.Number}, args...)...)
}
