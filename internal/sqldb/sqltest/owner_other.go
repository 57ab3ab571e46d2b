//go:build !unix

package sqltest

import (
	"errors"
	"os/exec"
)

// owner is the user that a server runs as; nil is the one who runs the tests.
type owner struct{ uid, gid int }

// serverOwner refuses: servers are supervised by a shell script.
func serverOwner() (*owner, error) {
	return nil, errors.New("the tests start servers on Unix only; set TWEETLEDGER_TEST_POSTGRES to the URL of one that runs")
}

func ownGroup(*exec.Cmd, *owner) {}
