// SPDX-License-Identifier: Apache-2.0
// A process whose root has a file system at DIRECTORY that never answers: mute ROOT DIRECTORY
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int count, char **words)
{
    char options[64];
    int device = open("/dev/fuse", O_RDWR);
    if (count != 3 || device < 0 || chroot(words[1]) || chdir("/"))
        return 1;
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (mount("mute", words[2], "fuse.mute", 0, options))
        return 2;
    puts("mute");
    fflush(stdout);
    pause();
    return 0;
}
