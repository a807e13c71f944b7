package builder

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// senderVariable makes the test binary a builder that makes $out and passes a descriptor of it to a socket.
const senderVariable = "PIX_TEST_SENDER"

// runSender sends the descriptor, and ends the process.
func runSender(address string) {
	err := func() error {
		file, err := os.OpenFile(os.Getenv("out"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if _, err := file.WriteString("x\n"); err != nil {
			return err
		}
		conn, err := net.Dial("unix", address)
		if err != nil {
			return err
		}
		_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte("x"), syscall.UnixRights(int(file.Fd())), nil)
		return err
	}()
	if err != nil {
		fmt.Println(err)
	}
	os.Exit(0)
}
