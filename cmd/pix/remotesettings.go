package main

import (
	"pix/nixconf"
	"pix/realise"
)

// remoteSettings returns the settings of builds on other machines, or nil if the setting builders names none.
func remoteSettings(r *nixconf.Reader) (*realise.Remote, error) {
	machines, err := nixconf.ParseMachines(r.Text("builders"), r.Text("system"))
	if err != nil || len(machines) == 0 {
		return nil, err
	}
	remote := &realise.Remote{
		Machines:   machines,
		Substitute: r.Bool("builders-use-substitutes"),
		KeepFailed: r.Bool("keep-failed"),
		DiscardLog: !r.Bool("keep-build-log"),
	}
	return remote, r.Err()
}
