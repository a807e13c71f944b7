//go:build !unix

package live

import "os"

// signals are the signals about a terminal. This system has none.
type signals struct {
	resized, suspend, quit chan os.Signal
}

func listen() *signals { return new(signals) }

func (*signals) stop()         {}
func (*signals) stopSelf()     {}
func (*signals) die(os.Signal) {}
