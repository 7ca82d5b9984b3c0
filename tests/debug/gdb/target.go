// SPDX-License-Identifier: Apache-2.0

// What the debugger is tried on: main.main in the process's first thread, and a goroutine that counts.
package main

import (
	"runtime"
	"syscall"
	"time"
)

var counter int64

func init() {
	runtime.LockOSThread()
}

//go:noinline
func park(depth int) {
	if depth > 0 {
		park(depth - 1)
		return
	}
	for {
		syscall.Pause()
	}
}

func main() {
	go func() {
		for {
			counter++
			time.Sleep(2 * time.Millisecond)
		}
	}()
	park(2)
}
