//go:build unix

package builder

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// belongsTo reports whether a file belongs to a user.
func belongsTo(info fs.FileInfo, user int) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == user
}

// runAs makes a program run as the user of a build, if that is another than the user of this process, and in a session of
// its own.
func runAs(cmd *exec.Cmd, owner ids) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if owner.count > 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(owner.uid), Gid: uint32(owner.gid)}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
