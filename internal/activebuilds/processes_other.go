//go:build !linux

package activebuilds

import "pix/store"

// addProcesses does nothing: only Linux has the files that list processes.
func addProcesses([]store.ActiveBuild) {}
