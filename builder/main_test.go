package builder

import (
	"os"
	"testing"

	"pix/builder/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if victim := os.Getenv(victimVariable); victim != "" {
		runVictim(victim)
	}
	if address := os.Getenv(senderVariable); address != "" {
		runSender(address)
	}
	os.Exit(m.Run())
}
