package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/library"
)

// Ready is what a worker says once it is connected and whatever it holds is held.
const Ready = "ready"

// Run reads a job from in, then windows, and writes a result for each to out. It
// returns when in ends.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return lines.Err()
	}
	var job Job
	if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
		return err
	}
	w, err := open(ctx, job)
	if err != nil {
		return fmt.Errorf("%s: %w", job.Library, err)
	}
	stop, err := w.profile()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, Ready); err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var window Window
		if err := json.Unmarshal(lines.Bytes(), &window); err != nil {
			return err
		}
		if err := encoder.Encode(w.measure(ctx, window)); err != nil {
			return err
		}
	}
	// Nothing is closed: the process ends, and the server is emptied.
	if err := stop(); err != nil {
		return err
	}
	return lines.Err()
}

// worker is a job under way.
type worker struct {
	Job
	locker library.Locker
	leases *leases
}

// open connects, and takes what the job holds from its beginning.
func open(ctx context.Context, job Job) (*worker, error) {
	l, err := library.ByName(job.Library)
	if err != nil {
		return nil, err
	}
	locker, err := l.Open(ctx, library.Config{Addr: job.Addr, Process: job.Process, Processes: job.Processes})
	if err != nil {
		return nil, err
	}
	w := &worker{Job: job, locker: locker}
	switch {
	case job.Work == WorkIdle && job.Process == 0:
		_, err = locker.Lock(key(0)).Acquire(ctx)
	case job.Work == WorkLeases:
		w.leases, err = takeLeases(ctx, locker, job.Leases)
	}
	return w, err
}

// measure does the work until the window ends.
func (w *worker) measure(ctx context.Context, window Window) Result {
	begin, end := time.Unix(0, window.Begin), time.Unix(0, window.End)
	cpu := make(chan int64, 1)
	go func() { cpu <- cpuBetween(begin, end) }()
	var result Result
	if w.Work == WorkLeases {
		sleepUntil(end)
		result = w.leases.report()
	} else {
		result = w.contend(ctx, begin, end)
	}
	result.CPU = <-cpu
	return result
}

// cpuBetween is the processor time that this process uses between two moments.
func cpuBetween(begin, end time.Time) int64 {
	sleepUntil(begin)
	before := cpuTime()
	sleepUntil(end)
	return cpuTime() - before
}

func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

func key(number int) string { return fmt.Sprintf("bench:%d", number) }
