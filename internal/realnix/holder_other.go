//go:build !linux

package realnix

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

var private []string

// A holder requires the namespaces of Linux.
type holder struct{}

func hold(root, tmp string, log *os.File) (*holder, error) {
	return nil, errors.New("real daemons need Linux")
}

func (h *holder) command(ctx context.Context, args []string) *exec.Cmd { panic("realnix: no holder") }
func (h *holder) others() []int                                        { return nil }
func (h *holder) killOthers()                                          {}
func (h *holder) end()                                                 {}
