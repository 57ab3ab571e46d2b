package sqltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// superviseScript runs a server until the test process is gone. The test process
// holds the other end of the script's standard input and never writes to it, so
// the read ends when that process does: at its normal end, in a panic, or when it
// is killed. A test cannot be asked to stop the server instead: only TestMain
// runs last, and no package should need one for this.
//
// $1 is the directory of the server's files, $2 the signal that stops it at
// once; the rest is its command line.
const superviseScript = `
dir=$1 stop=$2
shift 2
exec 3<&0
"$@" </dev/null >"$dir/log" 2>&1 3<&- &
server=$!
(
	read -r _ <&3
	trap '' TERM # from here on the shell below must not end this one
	kill -s "$stop" "$server"
	tries=100 # ten seconds
	while [ "$tries" -gt 0 ] && kill -0 "$server"; do
		sleep 0.1 || sleep 1
		tries=$((tries - 1))
	done
	kill -s KILL "$server"
	rm -rf "$dir"
) </dev/null &
watcher=$!
exec 3<&-
wait "$server"
kill "$watcher" # the server ended by itself; the test process reads its log
`

// process is a server that runs under the script.
type process struct {
	dir      string        // its files, removed when it ends
	lifeline *os.File      // when this is closed, the server is stopped
	exited   chan struct{} // closed when it has ended
	log      string        // the end of its log, once exited is closed
}

// supervise starts the server in dir, as the user that owner names.
func supervise(dir, stopSignal string, owner *owner, command ...string) (*process, error) {
	lifeline, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to the supervisor: %w", err)
	}
	defer lifeline.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", superviseScript, "supervise", dir, stopSignal}, command...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, serverEnv(dir), lifeline
	ownGroup(cmd, owner)
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	p := &process{dir: dir, lifeline: ours, exited: make(chan struct{})}
	go func() {
		defer ours.Close() // held open by this goroutine for as long as the server runs
		_ = cmd.Wait()     // why it ended stands in the log
		p.log = readLogTail(dir)
		_ = os.RemoveAll(dir)
		close(p.exited)
	}()
	return p, nil
}

// maxLogTail bounds how much of a server's log an error carries, in bytes.
const maxLogTail = 4000

func readLogTail(dir string) string {
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-maxLogTail):])
}

// serverEnv is the environment of a server: not the tester's, whose PGDATA,
// PGPORT or COCKROACH_… would change what is started.
func serverEnv(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
}
