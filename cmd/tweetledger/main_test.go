package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tweetledger/internal/sqldb/sqltest"
)

var update = flag.Bool("update", false, "write what the commands print now into the scripts")

// TestMain makes this binary the tweetledger of the scripts, which differs from
// the one of main in three things: its clock is steered, its random numbers
// repeat, and its log goes to a file.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tweetledger": func() { os.Exit(tweetledger()) },
		soakCommand:   func() { os.Exit(soakService()) },
	})
}

// What only this binary reads from the environment.
const (
	clockVariable = "TWEETLEDGER_TEST_CLOCK" // file that holds the time of the next command
	logVariable   = "TWEETLEDGER_TEST_LOG"   // file that gathers the logs and all output
)

func tweetledger() int {
	now, err := takeMinute(os.Getenv(clockVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, "the clock of the test:", err)
		return exitFailed
	}
	transcript, err := os.OpenFile(os.Getenv(logVariable), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the log of the test:", err)
		return exitFailed
	}
	defer func() { _ = transcript.Close() }()
	errOut := &logSplitter{log: transcript, rest: io.MultiWriter(os.Stderr, transcript)}
	defer errOut.flush()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, append([]string{"--verbose"}, os.Args[1:]...), steered(now, os.Stdin, io.MultiWriter(os.Stdout, transcript), errOut, os.Getenv))
}

// steered is a world in which it is now, and in which chance repeats itself.
func steered(now time.Time, in io.Reader, out, errOut io.Writer, getenv func(string) string) environment {
	clock := &ticker{now: now}
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(now.UnixNano()))
	return environment{in: in, out: out, err: errOut, getenv: getenv, now: clock.tick, random: &locked{r: rand.NewChaCha8(seed)}}
}

// takeMinute returns the time in the file and leaves the next minute in it: every
// command of a script has a minute of its own, and no two the same.
func takeMinute(file string) (time.Time, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	now, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return time.Time{}, err
	}
	return now, setClock(file, now.Add(time.Minute))
}

func setClock(file string, now time.Time) error {
	return os.WriteFile(file, []byte(now.Format(time.RFC3339)), 0o600)
}

// ticker is a clock that goes on by a microsecond whenever it is read, so that
// what happens later is later.
type ticker struct {
	mu  sync.Mutex
	now time.Time
}

func (t *ticker) tick() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = t.now.Add(time.Microsecond)
	return t.now
}

// locked makes a reader safe for concurrent use.
type locked struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *locked) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// logSplitter takes the lines of the log out of standard error: they hold
// durations and addresses, which no script can compare.
type logSplitter struct {
	mu        sync.Mutex
	log, rest io.Writer
	line      []byte
}

func (s *logSplitter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = append(s.line, p...)
	for {
		end := bytes.IndexByte(s.line, '\n')
		if end < 0 {
			return len(p), nil
		}
		if err := s.write(s.line[:end+1]); err != nil {
			return 0, err
		}
		s.line = s.line[end+1:]
	}
}

func (s *logSplitter) write(line []byte) error {
	out := s.rest
	if bytes.HasPrefix(line, []byte("time=")) {
		out = s.log
	}
	_, err := out.Write(line)
	return err
}

// flush writes what was left without a line end.
func (s *logSplitter) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.write(s.line)
	s.line = nil
}

// firstMinute is when scripts begin that do not set the clock: a Friday morning
// in Paris, when no summer time is near.
var firstMinute = time.Date(2026, time.November, 20, 9, 0, 0, 0, time.UTC)

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(filepath.Join("testdata", "script"), nil))
}

// Bad input gives one clear line, the right exit code and an unchanged book.
func TestBadInput(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(filepath.Join("testdata", "bad"), nil))
}

// The same story comes out to the cent on every engine.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, engine := range sqltest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			sqltest.WholeOnly(t, engine) // CI runs it there
			dir := filepath.Join("testdata", "engines")
			scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
			if err != nil || len(scripts) == 0 {
				t.Fatalf("no scripts in %s: %v", dir, err)
			}
			urls := make(chan string, len(scripts))
			for range scripts {
				urls <- sqltest.EmptyURL(t, engine)
			}
			p := params(dir, func(env *testscript.Env) error {
				env.Setenv("TWEETLEDGER_DB", <-urls)
				return nil
			})
			p.Condition = func(condition string) (bool, error) {
				return condition == string(engine), nil
			}
			testscript.Run(t, p)
		})
	}
}

// xArchive is an archive download, where the machine has the one that the command
// was specified by.
var xArchive = filepath.Join("..", "..", "..", "shared", "fixtures", "x-archive")

func TestXArchive(t *testing.T) {
	t.Parallel()
	archive, err := filepath.Abs(xArchive)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); os.IsNotExist(err) {
		t.Skip("this machine has no sample of an archive; tweets_archive.txtar has one of its own")
	}
	testscript.Run(t, params(filepath.Join("testdata", "fixtures"), func(env *testscript.Env) error {
		env.Setenv("ARCHIVE", archive)
		return nil
	}))
}

// params runs the scripts of a folder. prepare may add to what a script is given.
func params(dir string, prepare func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir: dir, UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: commands(),
		Setup: func(env *testscript.Env) error {
			clock, transcript := filepath.Join(env.WorkDir, ".clock"), filepath.Join(env.WorkDir, ".transcript")
			env.Setenv(clockVariable, clock)
			env.Setenv(logVariable, transcript)
			env.Values[serverKey{}], env.Values[stateKey{}] = &servers{}, &bookState{}
			env.Setenv("TWEETLEDGER_ACTOR", "anne")
			env.Setenv("TWEETLEDGER_KEY", testKey)
			env.Defer(func() { keepsSecrets(env.T(), transcript) })
			if err := setClock(clock, firstMinute); err != nil {
				return err
			}
			if err := cheapSecrets(env.WorkDir); err != nil {
				return err
			}
			if prepare == nil {
				return nil
			}
			return prepare(env)
		},
	}
}

// testKey keeps the pseudonyms of donors the same in every run.
const testKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// cheapSecrets writes a configuration in which a guess of a secret code costs
// next to nothing, where the script has none of its own.
func cheapSecrets(dir string) error {
	file := filepath.Join(dir, defaultConfig)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	return os.WriteFile(file, []byte("[secret]\nmemory_kib = 64\niterations = 1\nparallelism = 1\nworkers = 1\n"), 0o600)
}

// keepsSecrets fails a script in whose output or log (all commands are verbose)
// something stands that only a customer may know.
func keepsSecrets(t testscript.T, transcript string) {
	file, err := os.Open(transcript)
	if os.IsNotExist(err) {
		return // the script ran no command
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxTranscriptLine)
	for lines.Scan() {
		if what := secretIn(lines.Text()); what != "" {
			t.Fatal(fmt.Sprintf("%s in the output or log:\n%s", what, lines.Text()))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// maxTranscriptLine bounds a line of output: reports as JSON stand on one.
const maxTranscriptLine = 16 << 20
