package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// maxLine is the longest line that a worker may send: a result holds every time
// that it measured.
const maxLine = 256 << 20

// process is a child that takes jobs and windows by lines.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	said  strings.Builder // on standard error
}

// startProcess starts a child. It ends when its input does, so it does not outlive
// this process.
func startProcess(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(make([]byte, 64<<10), maxLine)
	return p, p.cmd.Start()
}

// send writes a value as one line.
func (p *process) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}

// receive reads one line. A worker that does not send it in time is killed: a
// library may leave a waiter asleep.
func (p *process) receive(limit time.Duration) (string, error) {
	var late atomic.Bool
	kill := time.AfterFunc(limit, func() {
		late.Store(true)
		_ = p.cmd.Process.Kill()
	})
	defer kill.Stop()
	if p.lines.Scan() {
		return p.lines.Text(), nil
	}
	if late.Load() {
		return "", fmt.Errorf("no answer within %v", limit)
	}
	err := p.lines.Err()
	if err == nil {
		err = io.EOF
	}
	return "", fmt.Errorf("the worker ended: %w: %.400s", err, strings.TrimSpace(p.said.String()))
}

func (p *process) ready() error {
	line, err := p.receive(readyLimit)
	if err == nil && line != worker.Ready {
		err = errors.New(line)
	}
	return err
}

func (p *process) result() (r worker.Result, err error) {
	line, err := p.receive(resultLimit)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(line), &r)
}

// How long a worker may take: to connect and take what it holds from its beginning,
// and for the result, once the window is over.
const (
	readyLimit  = time.Minute
	resultLimit = 20 * time.Second
)

// exitGrace is how long a child may take to end by itself.
const exitGrace = 5 * time.Second

// close ends the child.
func (p *process) close() {
	_ = p.in.Close() // it ends with its input
	kill := time.AfterFunc(exitGrace, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // it may end as it likes
}
