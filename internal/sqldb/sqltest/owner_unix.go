//go:build unix

package sqltest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// owner is the user that a server runs as; nil is the one who runs the tests.
type owner struct{ uid, gid int }

// serverOwner returns nil, or where root runs the tests another user, since
// PostgreSQL refuses to run as root.
func serverOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(account.Uid)
		gid, gidErr := strconv.Atoi(account.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, err
		}
		return &owner{uid: uid, gid: gid}, nil
	}
	return nil, errors.New("root cannot run PostgreSQL, and there is neither a user postgres nor nobody to run it as")
}

// ownGroup makes cmd run as owner, in a process group of its own: out of reach of
// an interrupt from the keyboard, which the tests shall end by first.
func ownGroup(cmd *exec.Cmd, owner *owner) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if owner != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(owner.uid), Gid: uint32(owner.gid)}
	}
}
