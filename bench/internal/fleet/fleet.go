package fleet

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// WorkerVariable is set in the environment of a child that is to be a worker.
const WorkerVariable = "HOLDFAST_BENCH_WORKER"

// WarmUp is how long the contenders work before a window begins.
const WarmUp = 400 * time.Millisecond

// Bench is a server and what runs against it.
type Bench struct {
	Server  *Server
	Profile string // where this project's workers leave profiles; empty: none
	jvm     *jvm
}

// Start starts a server.
func Start(ctx context.Context) (*Bench, error) {
	server, err := StartServer(ctx)
	if err != nil {
		return nil, err
	}
	return &Bench{Server: server}, nil
}

// Close ends everything that was started.
func (b *Bench) Close() {
	if b.jvm != nil {
		b.jvm.close()
	}
	b.Server.Close()
}

// Outcome is what the workers and the server found in one window.
type Outcome struct {
	Library library.Library
	Job     worker.Job
	Length  time.Duration
	Workers []worker.Result
	Server  Counters
}

// Windows does a job: empties the server, starts the processes, and measures for
// several windows, one after the other, the first of which begins after lead.
func (b *Bench) Windows(ctx context.Context, job worker.Job, lead, length time.Duration, n int) ([]*Outcome, error) {
	l, err := library.ByName(job.Library)
	if err != nil {
		return nil, err
	}
	if err = b.Server.Empty(ctx); err != nil {
		return nil, err
	}
	job.Addr = b.Server.Addr
	crew, err := b.crew(ctx, l, job)
	defer crew.close()
	if err != nil {
		return nil, err
	}
	var all []*Outcome
	for range n {
		o := &Outcome{Library: l, Job: job, Length: length}
		if err := b.window(ctx, crew, o, lead); err != nil {
			return nil, err
		}
		all = append(all, o)
		lead = 20 * time.Millisecond // enough to tell all of them
	}
	return all, nil
}

// window measures once.
func (b *Bench) window(ctx context.Context, crew crew, o *Outcome, lead time.Duration) error {
	begin := time.Now().Add(lead)
	end := begin.Add(o.Length)
	for _, p := range crew.processes {
		if err := p.send(worker.Window{Begin: begin.UnixNano(), End: end.UnixNano()}); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(begin))
	before, err := b.Server.Counters(ctx)
	if err != nil {
		return err
	}
	time.Sleep(time.Until(end))
	after, err := b.Server.Counters(ctx)
	if err != nil {
		return err
	}
	o.Server = after.Since(before)
	for _, p := range crew.processes {
		r, err := p.result()
		if err != nil {
			return err
		}
		o.Workers = append(o.Workers, r)
	}
	return nil
}

// crew are the processes of one job.
type crew struct {
	processes []*process
	over      func() // in the place of their end: the JVM is used again
}

func (c *crew) close() {
	if c.over != nil {
		c.over()
		return
	}
	for _, p := range c.processes {
		_ = p.in.Close() // all at once
	}
	for _, p := range c.processes {
		p.close()
	}
}

// start adds a process and gives it its job.
func (c *crew) start(ctx context.Context, self string, job worker.Job) error {
	p, err := startProcess(ctx, []string{WorkerVariable + "=1"}, self)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return p.send(job)
}

// crew starts the processes of a job and waits until all are ready.
func (b *Bench) crew(ctx context.Context, l library.Library, job worker.Job) (c crew, err error) {
	if l.Remote() {
		return b.jvmCrew(job)
	}
	if l.Name == "holdfast" {
		job.Profile = b.Profile
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	for i := range job.Processes {
		job.Process = i
		if err = c.start(ctx, self, job); err != nil {
			return c, err
		}
	}
	for _, p := range c.processes {
		err = errors.Join(err, p.ready())
	}
	return c, err
}
