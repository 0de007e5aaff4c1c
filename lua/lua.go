// Package lua holds the Redis scripts of Holdfast and is the one place that
// runs them and decodes what they answer.
//
// Each script is a file of its own that begins with its KEYS, ARGV and replies;
// "-- include queue" stands for the text of queue.lua. Scripts declare every
// key that they touch, take no wall-clock time from the caller, and have no
// "#!lua" line, so that they also run on miniredis.
//
// The package is importable because the tree of the project is public; its
// names follow the scripts and may change with them in any release. Programs
// use the lock packages.
package lua

import (
	"crypto/sha1" // the name that Redis gives to a script
	"embed"
	"encoding/hex"
	"strings"
)

//go:embed *.lua
var files embed.FS

// Script is one embedded script. Safe for concurrent use.
type Script struct {
	name   string
	source string
	sha    string
	// The two ways to call it, boxed once: they are arguments of every call.
	evalsha, eval [2]any
}

// Name is the script's file name without its ending.
func (s *Script) Name() string { return s.name }

// Source is the whole text that is sent to Redis.
func (s *Script) Source() string { return s.source }

// SHA is the name under which Redis caches the script.
func (s *Script) SHA() string { return s.sha }

// The scripts of the mutex.
var (
	MutexAcquire = load("mutex_acquire")
	MutexRelease = load("mutex_release")
	MutexRenew   = load("mutex_renew")
	MutexDrop    = load("mutex_drop")
	MutexPump    = load("mutex_pump")
)

// load reads an embedded script and puts the shared text where it asks for it.
// A missing file is a broken build, which the first test notices.
func load(name string) *Script {
	read := func(name string) string {
		text, err := files.ReadFile(name + ".lua")
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	source := strings.ReplaceAll(read(name), "-- include queue\n", read("queue"))
	digest := sha1.Sum([]byte(source))
	sha := hex.EncodeToString(digest[:])
	return &Script{
		name:    name,
		source:  source,
		sha:     sha,
		evalsha: [2]any{"evalsha", sha},
		eval:    [2]any{"eval", source},
	}
}
