# Packs a folder with rubyzip: ruby pack.rb MODE FOLDER ARCHIVE.
require 'zip'

mode, folder, archive = ARGV
Zip.unicode_names = mode == 'unicode'
Zip.write_zip64_support = mode == 'zip64'
names = Dir.glob('**/*', File::FNM_DOTMATCH, base: folder).reject { |name| File.basename(name) == '.' }.sort

if mode == 'stream'
  Zip::OutputStream.open(archive) do |zip|
    names.reject { |name| File.directory?(File.join(folder, name)) }.each do |name|
      zip.put_next_entry(name)
      zip.write(File.binread(File.join(folder, name)))
    end
  end
else
  Zip.default_compression = mode == 'store' ? Zlib::NO_COMPRESSION : Zlib::DEFAULT_COMPRESSION
  Zip::File.open(archive, Zip::File::CREATE) do |zip|
    names.each { |name| zip.add(name, File.join(folder, name)) }
  end
end
