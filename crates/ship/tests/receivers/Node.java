// SPDX-License-Identifier: Apache-2.0
// One OpenSearch node on loopback: java -cp 'LIB/*' Node.java DIRECTORY HTTP_PORT TRANSPORT_PORT

import org.codelibs.opensearch.runner.OpenSearchRunner;

public class Node {
    public static void main(String[] args) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("transport.port", args[2]);
            settings.put("network.host", "127.0.0.1");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        }).build(OpenSearchRunner.newConfigs().basePath(args[0]).numOfNode(1).clusterName("purser-test"));
        Thread.currentThread().join();
    }
}
