// Shutdown is a service of which one process works at a time and others stand by,
// and what becomes of the work, and of the lock, when a process is told to end, by
// SIGTERM as in a deployment. It takes no new work. What it has begun may finish
// within a grace, else it is cancelled and put back. Then it closes its client,
// which gives the lock to the next process at once: nobody waits for a TTL.
//
//	go run ./examples/shutdown
//
// Needs Unix, for the signal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/mutex"
)

const (
	grace = 300 * time.Millisecond // for the work that is under way
	ttl   = 30 * time.Second       // of the lock, which nobody waits for here

	lock   = "shutdown:worker"
	jobs   = "shutdown:jobs"   // a list of how long each job takes
	events = "shutdown:events" // a list of what the processes say

	// What a process has in its environment if it is one of the service.
	addressVariable = "HOLDFAST_EXAMPLE_REDIS"
	nameVariable    = "HOLDFAST_EXAMPLE_NAME"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	do := run
	if os.Getenv(addressVariable) != "" {
		do = serve
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shutdown:", err)
		os.Exit(1)
	}
}

// serve is one process of the service.
func serve(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(addressVariable)})
	defer func() { _ = rdb.Close() }() // the process ends here
	name := os.Getenv(nameVariable)
	client, err := holdfast.New(rdb, holdfast.WithHolder(name), holdfast.WithTTL(ttl))
	if err != nil {
		return err
	}
	w := &worker{rdb: rdb, name: name}
	err = w.lead(ctx, client)
	// ctx has ended by now. What is still held is given back within five seconds,
	// or its TTL does it.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, client.Close(ending))
}

type worker struct {
	rdb  *redis.Client
	name string
}

// lead waits to be the one that works, then works until the process is told to end.
func (w *worker) lead(ctx context.Context, client *holdfast.Client) error {
	w.say(ctx, "stands by")
	lease, err := mutex.New(client, lock).Lock(ctx)
	if errors.Is(err, context.Canceled) {
		return nil // told to end while it waited: it has left the queue
	}
	if err != nil {
		return err
	}
	w.say(ctx, "leads")
	for held := lease.Context(ctx); held.Err() == nil; {
		// Not with ctx: a command given up half way could lose a job.
		job, err := w.rdb.RPop(context.WithoutCancel(ctx), jobs).Result()
		switch {
		case errors.Is(err, redis.Nil):
			time.Sleep(10 * time.Millisecond)
		case err != nil:
			return err
		default:
			if err = w.do(ctx, lease, job); err != nil {
				return err
			}
		}
	}
	// If it was lost, this says so. If not, Close releases it, in serve.
	return lease.Err()
}

// do runs a job. Two things end it early: the loss of the lease, at once, since
// another process works now; and the signal, after the grace.
func (w *worker) do(ctx context.Context, lease *holdfast.Lease, job string) error {
	d, err := time.ParseDuration(job)
	if err != nil {
		return err
	}
	working, cancel := outlive(ctx, grace)
	defer cancel()
	w.say(working, "begins "+job)
	timer := time.NewTimer(d) // the job
	defer timer.Stop()
	select {
	case <-timer.C:
		w.say(working, "finished "+job)
		return nil
	case <-lease.Context(working).Done():
	}
	if err := lease.Err(); err != nil {
		return err // the job is not ours any more
	}
	// The lock is still ours, so this is done before anybody else works.
	ending := context.WithoutCancel(ctx)
	if err := w.rdb.RPush(ending, jobs, job).Err(); err != nil {
		return err
	}
	w.say(ending, "put back "+job)
	return nil
}

// outlive returns a context that ends a while after ctx does.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

func (w *worker) say(ctx context.Context, what string) {
	fmt.Printf("  %s %s\n", w.name, what)
	_ = w.rdb.LPush(context.WithoutCancel(ctx), events, w.name+" "+what).Err() // run would miss it
}

// run starts two processes and ends them, one in the midst of a job that is done
// in time, the other in the midst of one that is not.
func run(ctx context.Context) error {
	options, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }() // the program ends here
	if err = rdb.Del(ctx, jobs, events).Err(); err != nil {
		return err
	}
	s := &stage{rdb: rdb, address: options.Addr}
	anna := s.start(ctx, "Anna")
	s.expect(ctx, "Anna stands by", "Anna leads")
	bert := s.start(ctx, "Bert")
	s.expect(ctx, "Bert stands by")

	s.give(ctx, "100ms")
	s.expect(ctx, "Anna begins 100ms")
	signalled := s.terminate(anna)
	s.expect(ctx, "Anna finished 100ms", "Bert leads")
	took := time.Since(signalled)
	s.end(anna)

	s.give(ctx, "1h")
	s.expect(ctx, "Bert begins 1h")
	s.terminate(bert)
	s.expect(ctx, "Bert put back 1h")
	s.end(bert)
	if s.err != nil {
		return s.err
	}

	fmt.Printf("Bert led %v after Anna was told to end; her TTL is %v.\n", took.Round(time.Millisecond), ttl)
	if took > ttl/2 {
		return errors.New("that is too late")
	}
	return errors.Join(s.free(ctx), rdb.Del(ctx, jobs, events).Err())
}

// stage is what run does; after the first error it does nothing more.
type stage struct {
	rdb     *redis.Client
	address string
	err     error
}

func (s *stage) start(ctx context.Context, name string) *exec.Cmd {
	self, err := os.Executable()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), addressVariable+"="+s.address, nameVariable+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	s.try(func() error { return errors.Join(err, cmd.Start()) })
	return cmd
}

func (s *stage) give(ctx context.Context, job string) {
	s.try(func() error { return s.rdb.RPush(ctx, jobs, job).Err() })
}

// terminate tells a process to end, and when that was.
func (s *stage) terminate(cmd *exec.Cmd) time.Time {
	at := time.Now()
	s.try(func() error { return cmd.Process.Signal(syscall.SIGTERM) })
	return at
}

// end waits for a process, which must end well.
func (s *stage) end(cmd *exec.Cmd) { s.try(cmd.Wait) }

// expect waits for these events, in that order.
func (s *stage) expect(ctx context.Context, all ...string) {
	for _, want := range all {
		s.try(func() error {
			got, err := s.rdb.BRPop(ctx, 30*time.Second, events).Result()
			if err == nil && got[1] != want {
				err = fmt.Errorf("%q happened before %q", got[1], want)
			}
			return err
		})
	}
}

// free tells whether the lock and the job are there for whoever comes.
func (s *stage) free(ctx context.Context) error {
	client, err := holdfast.New(s.rdb)
	if err != nil {
		return err
	}
	if _, err = mutex.New(client, lock).TryLock(ctx); err != nil { // given back by Close
		return err
	}
	fmt.Println("The lock is free, and Bert's job is there for who comes next.")
	left, err := s.rdb.LLen(ctx, jobs).Result()
	if err == nil && left != 1 {
		err = fmt.Errorf("%d jobs are left", left)
	}
	return errors.Join(err, client.Close(ctx))
}

func (s *stage) try(f func() error) {
	if s.err == nil {
		s.err = f()
	}
}
