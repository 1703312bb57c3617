# Serve the snippets in a folder: POST /<profile>, with the secret in base64 in the header test-secret.
require "socket"
require "stringio"

receivers = Dir["#{ARGV[0]}/*.rb"].to_h do |path|
  load path, (its_own = Module.new) # or else each would replace the functions of the one before
  [File.basename(path, ".rb"), Object.new.extend(its_own).method(:receive_webhook)]
end

# What a Rack server hands on: the path, the headers under their names in Rack, the body.
def read_request(client)
  env = { "PATH_INFO" => client.gets.split[1] }
  while (line = client.gets.chomp) != ""
    name, value = line.split(":", 2)
    env["HTTP_#{name.upcase.tr("-", "_")}"] = value.strip
  end
  env.merge("rack.input" => StringIO.new(client.read(env["HTTP_CONTENT_LENGTH"].to_i)))
end

server = TCPServer.new("127.0.0.1", 0)
puts "http://127.0.0.1:#{server.addr[1]}"
$stdout.flush
loop do
  client = server.accept
  env = read_request(client)
  ENV["WEBHOOK_SECRET"] = env["HTTP_TEST_SECRET"].unpack1("m")
  begin
    status, = receivers.fetch(env["PATH_INFO"].delete_prefix("/")).call(env)
  rescue StandardError => error
    puts error.inspect
    status = 500
  end
  client.write("HTTP/1.1 #{status} Answer\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
  client.close
end
